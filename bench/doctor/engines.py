"""The engines that need no GPU: do they agree, does INT8 pay here, does NVIDIA's builder build."""

from __future__ import annotations

import importlib.util

from bench.doctor.check import Check, Finding
from bench.doctor.tiny import make_tiny
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.engine.trt.rtx import TensorRtRtx
from bench.evaluation.fidelity import Sqnr
from bench.timing import measure_in_turn, stopwatch

LEAST_AGREEMENT_DB = 30.0
"""Two engines round alike but for a last bit; where one computes something else it is about 8."""


def compare_cpu_engines() -> Finding:
    """OpenVINO and ONNX Runtime on one Q/DQ file."""
    tiny, sqnr = make_tiny(), Sqnr()
    with OnnxRuntime().build(tiny.qdq) as reference, OpenVino().build(tiny.qdq) as other:
        sqnr.update(reference.run(tiny.batch), other.run(tiny.batch))
    found = f"{sqnr.decibels():.1f} dB on one Q/DQ file ({LEAST_AGREEMENT_DB:.0f} or more expected)"
    if sqnr.decibels() >= LEAST_AGREEMENT_DB:
        return Finding("pass", found)
    mend = "Install the pinned versions: pip install -c constraints.txt -e . Or use the other one"
    return Finding("fail", found, mend)


def time_int8() -> Finding:
    """Three larger convolutions in OpenVINO, INT8 against FP32."""
    tiny = make_tiny(channels=64, side=64)
    with OpenVino().build(tiny.qdq) as int8, OpenVino().build(tiny.fp32) as fp32:
        times = measure_in_turn(
            {"int8": lambda: int8.run(tiny.batch), "fp32": lambda: fp32.run(tiny.batch)},
            rounds=30,
            seconds=1.0,
        )
    medians = {name: latency.percentile_ms(50) for name, latency in times.items()}
    speedup = medians["fp32"] / medians["int8"]
    found = (
        f"convolutions in OpenVINO: FP32 {medians['fp32']:.2f} ms, INT8 {medians['int8']:.2f} ms, "
        f"{speedup:.1f}x"
    )
    if speedup > 1:
        return Finding("pass", found)
    return Finding("absent", found, "INT8 is no faster here now; other programs may be running")


def build_for_rtx() -> Finding:
    """An engine of the Q/DQ file, ahead of time."""
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        mend = "For NVIDIA's builder without a GPU (96 MB): pip install -e '.[rtx]'"
        return Finding("absent", "not installed", mend)
    builder = TensorRtRtx()
    with stopwatch() as build:
        built = builder.compile(make_tiny().qdq)
    return Finding(
        "pass",
        f"{builder.version} built an INT8 engine for {builder.compute_capability}, "
        f"{len(built.content) / 1e3:.0f} kB in {build.seconds:.1f} s",
    )


CHECKS = (
    Check("OpenVINO, ONNX Runtime", compare_cpu_engines),
    Check("INT8 on this processor", time_int8),
    Check("TensorRT for RTX", build_for_rtx),
)
