"""Native calibration: TensorRT's calibrators on our images, in a separate process.

TensorRT calibrates only while it builds, and writes its cache before it chooses kernels. The rest
of the build is not needed here, and may fail: a tensor with only zeros has scale 0, which the
builder then refuses (NVIDIA/TensorRT issue 4446), and after Entropy and Legacy there may be no
implementation (ultralytics issue 19518). So the process ends as soon as the cache is written:
nothing is built, and a later failure does not lose the thresholds.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import onnx

from bench.calibration.native import NativeCalibration, NativeCalibrator
from bench.engine.base import Array
from bench.engine.trt.builder import Job, Settings
from bench.engine.trt.cuda import Buffer, synchronize
from bench.engine.trt.native_calibrator import make_feeding
from bench.engine.trt.network import input_shape
from bench.engine.trt.version import check_implicit, load_tensorrt
from bench.environment import of_twin
from bench.errors import BenchError, EngineError

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

_NEXT = "next"
"""The child's message that requests a batch, or None."""

Answer = NativeCalibration | BenchError
Written = Callable[[Answer], object]


def calibrate_apart(
    model: onnx.ModelProto,
    asked: NativeCalibrator,
    batches: Iterator[Array],
    count: int,
    settings: Settings,
) -> NativeCalibration:
    """``calibrate_network`` in a process that ends when the cache is written.

    Raises EngineError if that process ends otherwise.
    """
    ours, theirs = multiprocessing.Pipe()
    # Not a multiprocessing child: workers of some launchers may not have children.
    child = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env=of_twin(),
    )
    theirs.close()
    try:
        ours.send((model.SerializeToString(), asked, count, settings))
        while (message := ours.recv()) == _NEXT:
            ours.send(next(batches, None))
    except (EOFError, ConnectionError) as error:
        raise EngineError(
            f"TensorRT ended while it calibrated (exit status {child.wait()})",
            "Use another calibrator, or engine.mode=explicit",
        ) from error
    finally:
        ours.close()
        child.kill()
        child.wait()
    if isinstance(message, NativeCalibration):
        return message
    assert isinstance(message, BenchError)
    raise message


def serve(descriptor: int) -> None:
    """The main function of the process, with a pipe to its parent."""
    pipe: Connection[Any, Any] = Connection(descriptor)

    def answer(outcome: Answer) -> None:
        pipe.send(outcome)
        os._exit(0)  # without returning into TensorRT's unfinished build

    with suppress(BrokenPipeError, EOFError):  # the parent has gone
        model, asked, count, settings = pipe.recv()
        try:
            batches = _ask_for_batches(pipe)
            network = onnx.load_from_string(model)
            answer(
                calibrate_network(load_tensorrt(), network, asked, batches, count, settings, answer)
            )
        except BenchError as error:
            answer(error)


def _ask_for_batches(pipe: Connection[Any, Any]) -> Iterator[Array]:
    while True:
        pipe.send(_NEXT)
        batch: Array | None = pipe.recv()
        if batch is None:
            return
        yield batch


def calibrate_network(
    trt: TensorRT,
    model: onnx.ModelProto,
    asked: NativeCalibrator,
    batches: Iterator[Array],
    count: int,
    settings: Settings,
    written: Written = lambda outcome: None,
) -> NativeCalibration:
    """Let TensorRT calibrate ``model``, whose batch is fixed, on ``count`` batches.

    TensorRT then builds an engine, which is dropped; whether that succeeds does not matter.
    ``written`` is called with the cache at once. Raises ConfigError for TensorRT 11, EngineError if
    TensorRT refuses before there is a cache, and any exception of ``batches``.
    """
    check_implicit(trt)
    job = Job(trt, settings)
    network = job.parse(model, strong=False)
    shape = input_shape(network)
    buffer = Buffer(shape, "float32")

    def upload(batch: Array) -> int:
        buffer.host[...] = batch
        buffer.push(0)
        synchronize()  # TensorRT reads it on another stream
        return buffer.pointer

    def tell() -> None:
        try:
            feeding.check()
            outcome: Answer = feeding.result(count)
        except BenchError as error:
            outcome = error
        written(outcome)

    feeding = make_feeding(trt, asked, shape, batches, upload, tell)
    job.allow_int8()
    job.config.int8_calibrator = feeding
    try:
        job.build(network)
    except EngineError:
        if feeding.written is None:
            raise
    finally:
        buffer.close()
        feeding.check()
    return feeding.result(count)
