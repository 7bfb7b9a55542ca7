"""TensorRT on its GPU: does it build and compute correctly in every mode, and is INT8 faster.

Without TensorRT or a GPU all these checks are absent, as are modes that a version does not have.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import onnx

from bench.calibration.native import NativeCalibrator
from bench.doctor.check import Check, Finding
from bench.doctor.gpu import look_at_cuda, look_at_tensorrt
from bench.doctor.tiny import Tiny, make_tiny
from bench.engine.base import Int8Model, Session
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.trt.build_log import open_log
from bench.engine.trt.cuda import find_gpu
from bench.engine.trt.engine import Mode, Ranges, TensorRt
from bench.engine.trt.network import make_builder
from bench.engine.trt.runtime import TensorRtSession
from bench.engine.trt.version import has, load_tensorrt
from bench.evaluation.fidelity import Sqnr

FP32_DB, EXPLICIT_DB, IMPLICIT_DB = 60.0, 30.0, 25.0
"""Least agreement with ONNX Runtime: in FP32 (only the order of sums differs); on the same Q/DQ
file (only last bits differ); with the FP32 file when layers run in INT8 (all, in ONNX Runtime: 38
dB)."""

CHANNELS, SIDE = 256, 64
"""Size of the timed convolutions: large enough to occupy a GPU."""

_DISTRUST = "Do not use rows of this TensorRT. Try another: make sweep ENGINE=tensorrt TENSORRT=10"
USE_EXPLICIT = "Use engine.mode=explicit. Send the file that --json FILE writes"


def on_gpu(look: Callable[[], Finding], implicit: bool = False) -> Callable[[], Finding]:
    """``look`` if there are a GPU and TensorRT (with implicit quantization, if ``implicit``)."""

    def look_if_there() -> Finding:
        for name, look_at in (("TensorRT", look_at_tensorrt), ("CUDA", look_at_cuda)):
            if look_at().status != "pass":
                return Finding("absent", f"not tested without {name}", f"See {name} above")
        trt = load_tensorrt()
        if implicit and not has(trt, "IInt8EntropyCalibrator2"):
            missing = f"TensorRT {trt.__version__} has no implicit quantization"
            return Finding("absent", missing, "Use engine.mode=explicit, or TensorRT 8.5 to 10")
        return look()

    return look_if_there


def start_builder() -> Finding:
    """Whether the libraries, the driver and the GPU work together."""
    trt = load_tensorrt()
    make_builder(trt, open_log(trt))
    return Finding("pass", f"TensorRT {trt.__version__} starts one on {find_gpu()}")


def build_fp32() -> Finding:
    tiny = make_tiny()
    with own_folder() as cache, _exact(cache).build(tiny.fp32) as session:
        return _compare(session, tiny, tiny.fp32, FP32_DB, _DISTRUST)


def build_explicit() -> Finding:
    tiny = make_tiny()
    with own_folder() as cache, _exact(cache).build_int8(_int8(tiny, tiny.amax)) as session:
        return _compare(session, tiny, tiny.qdq, EXPLICIT_DB, _DISTRUST)


def build_implicit(ranges: Ranges) -> Finding:
    """Build an engine with ranges that we set."""
    tiny = make_tiny()
    with own_folder() as cache:
        engine = _exact(cache, "implicit", ranges)
        with engine.build_int8(_int8(tiny, tiny.amax)) as session:
            return _compare(session, tiny, tiny.fp32, IMPLICIT_DB, USE_EXPLICIT)


def build_natively() -> Finding:
    """Build an engine with ranges from a native calibrator."""
    tiny = make_tiny()
    with own_folder() as cache:
        engine = _exact(cache, "implicit")
        asked = NativeCalibrator("minmax", batch_size=1)
        native = engine.calibrate(tiny.fp32, asked, iter([tiny.batch] * 2), 2)
        model = _int8(tiny, native.cache.ranges(), native.cache.algorithm)
        with engine.build_int8(model) as session:
            return _compare(session, tiny, tiny.fp32, IMPLICIT_DB, USE_EXPLICIT)


def _exact(cache: str, mode: Mode = "explicit", ranges: Ranges = "cache") -> TensorRt:
    """With FP32 for layers not in INT8, so that outputs can be compared closely."""
    return TensorRt(mode, half=False, ranges=ranges, cache=cache)


def own_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder without engines, so that the engine is really built."""
    return tempfile.TemporaryDirectory(prefix="bench-doctor-")


def _int8(tiny: Tiny, amax: Mapping[str, float], algorithm: str | None = None) -> Int8Model:
    return Int8Model(tiny.qdq, tiny.fp32, amax, frozenset(), algorithm)


def _compare(
    session: Session, tiny: Tiny, reference: onnx.ModelProto, least_db: float, fix: str
) -> Finding:
    """Compare a session with ONNX Runtime on ``reference``."""
    sqnr = Sqnr()
    with OnnxRuntime().build_exact(reference) as expected:
        sqnr.update(expected.run(tiny.batch), session.run(tiny.batch))
    description = session.describe()
    summary = (
        f"{sqnr.decibels():.1f} dB against ONNX Runtime ({least_db:.0f} or more expected), "
        f"{description.int8_layers} of {description.layers} layers in INT8"
    )
    return (
        Finding("pass", summary) if sqnr.decibels() >= least_db else Finding("fail", summary, fix)
    )


def time_int8() -> Finding:
    """Three large convolutions, timed by the GPU's clock, INT8 against FP32."""
    tiny = make_tiny(CHANNELS, SIDE)
    with own_folder() as cache:
        engine = TensorRt(cache=cache)
        with engine.build(tiny.fp32) as fp32, engine.build_int8(_int8(tiny, tiny.amax)) as int8:
            slow, fast = _device_ms(fp32, tiny), _device_ms(int8, tiny)
    medians_text = f"convolutions, p50: FP32 {slow:.3f} ms, INT8 {fast:.3f} ms, {slow / fast:.1f}x"
    if fast < slow:
        return Finding("pass", medians_text)
    return Finding(
        "absent", medians_text, "INT8 is not faster here now; other programs may use the GPU"
    )


def _device_ms(session: TensorRtSession, tiny: Tiny) -> float:
    session.run(tiny.batch)
    return float(np.median(session.device_ms()))


_implicit = partial(on_gpu, implicit=True)
CHECKS = (
    Check("TensorRT builder", on_gpu(start_builder)),
    Check("TensorRT FP32", on_gpu(build_fp32)),
    Check("TensorRT explicit", on_gpu(build_explicit)),
    Check("TensorRT implicit, cache", _implicit(partial(build_implicit, "cache"))),
    Check("TensorRT implicit, dynamic ranges", _implicit(partial(build_implicit, "dynamic"))),
    Check("TensorRT calibrator", _implicit(build_natively)),
    Check("INT8 on this GPU", on_gpu(time_int8)),
)
