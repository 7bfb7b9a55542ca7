"""Native calibration: TensorRT's own calibrators on our images, in a process of its own.

TensorRT calibrates only where it builds, and writes its cache before it chooses kernels. What
comes after that is of no use here, and may fail: a tensor that was zero throughout has scale 0,
which the builder then refuses (NVIDIA/TensorRT issue 4446), and after Entropy and Legacy it may
find no implementation (ultralytics issue 19518). So the process ends as soon as the cache is
written: nothing is built, and no failure behind it costs the thresholds.
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
from bench.errors import BenchError, EngineError

if TYPE_CHECKING:
    from tensorrt_api import TensorRT

_NEXT = "next"
"""The child's word for: give me a batch, or None."""

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
    # No child of multiprocessing's: workers of some launchers may not have any.
    child = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    theirs.close()
    try:
        ours.send((model.SerializeToString(), asked, count, settings))
        while (told := ours.recv()) == _NEXT:
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
    if isinstance(told, NativeCalibration):
        return told
    assert isinstance(told, BenchError)
    raise told


def serve(descriptor: int) -> None:
    """What the process does, with a pipe to whoever started it."""
    pipe: Connection[Any, Any] = Connection(descriptor)

    def answer(outcome: Answer) -> None:
        pipe.send(outcome)
        os._exit(0)  # not through what TensorRT is in the middle of

    with suppress(BrokenPipeError, EOFError):  # nobody waits any more
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

    It goes on to build an engine, which is dropped; whether that succeeds does not matter. With the
    cache ``written`` is called at once. Raises ConfigError for TensorRT 11, EngineError for what is
    refused before there is a cache, and whatever ``batches`` raises.
    """
    check_implicit(trt)
    job = Job(trt, settings)
    network = job.parse(model, strong=False)
    shape = input_shape(network)
    buffer = Buffer(shape, "float32")

    def upload(batch: Array) -> int:
        buffer.host[...] = batch
        buffer.push(0)
        synchronize()  # TensorRT reads it on a stream of its own
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
