"""The engines that need no GPU: is INT8 exact, is it faster here, does NVIDIA's builder work."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict

from bench.doctor.check import Check, Finding, Status
from bench.doctor.tiny import make_tiny
from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino
from bench.engine.probe import ProbeResult, probe
from bench.engine.trt.rtx import TensorRtRtx
from bench.timing import measure_in_turn, stopwatch

CPU_ENGINES = (OpenVino(), OnnxRuntime())


def probe_int8_kernels() -> Finding:
    """Run small Q/DQ networks with known exact results, and state the effect on accuracies."""
    fix = (
        "Accuracies are computed exactly in float here, and the rows say so; latencies are those "
        "of the kernels. Check kernels_int8 before you deploy these engines in INT8 here"
    )
    return _finding({e.name: probe(e, e.build) for e in CPU_ENGINES}, "absent", fix)


def probe_emulations() -> Finding:
    """The same in float: the source of accuracies where the kernels are not exact."""
    fix = "Install the pinned versions: pip install -c constraints.txt -e ."
    return _finding({e.name: probe(e, e.build_exact) for e in CPU_ENGINES}, "fail", fix)


def _finding(results: Mapping[str, ProbeResult], otherwise: Status, fix: str) -> Finding:
    summary = "; ".join(f"{name}: {result.summary}" for name, result in results.items())
    figures = {name: asdict(result) for name, result in results.items()}
    if all(result.exact for result in results.values()):
        return Finding("pass", summary, figures=figures)
    return Finding(otherwise, summary, fix, figures)


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
    medians_text = (
        f"convolutions in OpenVINO: FP32 {medians['fp32']:.2f} ms, INT8 {medians['int8']:.2f} ms, "
        f"{speedup:.1f}x"
    )
    if speedup > 1:
        return Finding("pass", medians_text)
    return Finding(
        "absent", medians_text, "INT8 is not faster here now; other programs may be running"
    )


def build_for_rtx() -> Finding:
    """Build an engine of the Q/DQ file ahead of time."""
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        fix = "For NVIDIA's builder without a GPU (96 MB): pip install -e '.[rtx]'"
        return Finding("absent", "not installed", fix)
    builder = TensorRtRtx()
    with stopwatch() as build:
        built = builder.compile(make_tiny().qdq)
    return Finding(
        "pass",
        f"{builder.version} built an INT8 engine for {builder.compute_capability}, "
        f"{len(built.content) / 1e3:.0f} kB in {build.seconds:.1f} s",
    )


CHECKS = (
    Check("INT8 kernels", probe_int8_kernels),
    Check("Q/DQ computed exactly", probe_emulations),
    Check("INT8 on this processor", time_int8),
    Check("TensorRT for RTX", build_for_rtx),
)
