"""Latency against FP32, and how much of the network ran in INT8."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Latency against FP32, and how much of the network ran in INT8."""

    int8_latency_p50_ms: float | None = column(
        "INT8, median",
        "result",
        unit="ms",
        better="lower",
        heading="INT8 latency of this run",
        default=None,
    )
    int8_latency_p90_ms: float | None = column("INT8", unit="ms", better="lower", default=None)
    int8_latency_p99_ms: float | None = column("INT8", unit="ms", better="lower", default=None)
    fp32_latency_p50_ms: float | None = column(
        "FP32 on the same engine, median",
        unit="ms",
        better="lower",
        heading="FP32 latency",
        default=None,
    )
    fp32_latency_p90_ms: float | None = column(
        "FP32 on the same engine", unit="ms", better="lower", default=None
    )
    fp32_latency_p99_ms: float | None = column(
        "FP32 on the same engine", unit="ms", better="lower", default=None
    )
    baseline_latency_p50_ms: float | None = column(
        "FP32 ONNX baseline (ONNX Runtime), median",
        unit="ms",
        better="lower",
        heading="ONNX FP32 latency",
        default=None,
    )
    baseline_latency_p90_ms: float | None = column(
        "FP32 ONNX baseline", unit="ms", better="lower", default=None
    )
    baseline_latency_p99_ms: float | None = column(
        "FP32 ONNX baseline", unit="ms", better="lower", default=None
    )
    latency_rounds: int | None = column("alternating rounds timed", default=None)
    speedup: float | None = column(
        "FP32 over INT8 on the same engine, medians; on a GPU by its clock, without transfers",
        "result",
        unit="x",
        better="higher",
        heading="speedup of this run",
        default=None,
    )
    speedup_baseline: float | None = column(
        "FP32 ONNX baseline over INT8, medians of whole calls",
        unit="x",
        better="higher",
        default=None,
    )
    throughput: float | None = column(
        "INT8 images per second at this batch size", unit="1/s", better="higher", default=None
    )
    int8_mac_share: float | None = column(
        "share of multiply-accumulates the engine really ran in INT8",
        "result",
        better="higher",
        heading="INT8 MACs",
        format="share",
        default=None,
    )
    planned_mac_share: float | None = column(
        "share of multiply-accumulates the plan quantizes",
        "built",
        heading="planned INT8 MACs",
        format="share",
        default=None,
    )
    latency_note: str = column("why the latency is not reliable, if so", "graph", default="")
    timing: str = column(
        "alone: no other run computed on the machine while this one was timed; shared: some did; "
        "empty: not timed",
        default="",
    )
    fp16_latency_p50_ms: float | None = column(
        "FP16 on the same engine, median",
        unit="ms",
        better="lower",
        heading="FP16 latency",
        default=None,
    )
    fp16_latency_p90_ms: float | None = column(
        "FP16 on the same engine", unit="ms", better="lower", default=None
    )
    fp16_latency_p99_ms: float | None = column(
        "FP16 on the same engine", unit="ms", better="lower", default=None
    )
    speedup_fp16: float | None = column(
        "FP16 over INT8 on the same engine, medians; on a GPU by its clock, without transfers",
        "fp16",
        unit="x",
        better="higher",
        heading="speedup over FP16",
        default=None,
    )
    int8_layers: int | None = column(
        "the engine's convolution and matrix layers that ran in INT8; layers/ names them",
        default=None,
    )
    product_layers: int | None = column("the engine's convolution and matrix layers", default=None)
    planned_layers_in_float: int | None = column(
        "convolutions and matrix products that the plan quantizes and the engine ran in float",
        better="lower",
        default=None,
    )
    device_latency_p50_ms: float | None = column(
        "INT8 by the GPU's clock, device memory to device memory, median",
        unit="ms",
        better="lower",
        default=None,
    )
    device_latency_p90_ms: float | None = column(
        "INT8 by the GPU's clock", unit="ms", better="lower", default=None
    )
    device_latency_p99_ms: float | None = column(
        "INT8 by the GPU's clock", unit="ms", better="lower", default=None
    )
    fp32_device_latency_p50_ms: float | None = column(
        "FP32 on the same engine by the GPU's clock, median",
        unit="ms",
        better="lower",
        default=None,
    )
    fp16_device_latency_p50_ms: float | None = column(
        "FP16 on the same engine by the GPU's clock, median",
        unit="ms",
        better="lower",
        default=None,
    )
    device_throughput: float | None = column(
        "INT8 images per second, device memory to device memory, engine.streams in flight",
        unit="1/s",
        better="higher",
        default=None,
    )
    device_memory_mb: float | None = column(
        "GPU memory that one execution needs besides the weights",
        unit="MB",
        better="lower",
        default=None,
    )
    device_clock_mhz: int | None = column(
        "clock of the GPU right after the timing", unit="MHz", default=None
    )
    device_temperature_c: int | None = column(
        "temperature of the GPU right after the timing", unit="°C", default=None
    )
    device_launch: str = column(
        "how INT8 was launched on the GPU when timed: CUDA graph, or kernels one by one",
        default="",
    )
    device_enqueue_p50_ms: float | None = column(
        "time the host needs to launch one INT8 execution, median; above 0.8 of the execution the "
        "GPU waits for the host",
        unit="ms",
        better="lower",
        default=None,
    )
    device_upload_p50_ms: float | None = column(
        "copy of the batch to the GPU from page-locked memory, median",
        unit="ms",
        better="lower",
        default=None,
    )
    device_download_p50_ms: float | None = column(
        "copy of the outputs back to page-locked memory, median",
        unit="ms",
        better="lower",
        default=None,
    )
