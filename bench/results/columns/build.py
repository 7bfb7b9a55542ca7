"""What is built, its size, and the time to build it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Build:
    """What is built, its size, and the time to build it."""

    build_s: float | None = column(
        "inserting Q/DQ and building the engine", unit="s", better="lower", default=None
    )
    qdq_bytes: int | None = column(
        "size of the Q/DQ artefact", "graph", unit="B", better="lower", default=None
    )
    engine_bytes: int | None = column(
        "size of the INT8 engine, of the builder or of TensorRT",
        "built",
        unit="B",
        better="lower",
        heading="INT8 engine",
        default=None,
    )
    fp32_engine_bytes: int | None = column(
        "size of the engine that the builder made of the FP32 ONNX file",
        "built",
        unit="B",
        better="lower",
        heading="FP32 engine",
        default=None,
    )
    fp16_engine_bytes: int | None = column(
        "size of the engine that the builder made of it in FP16",
        "built",
        unit="B",
        better="lower",
        heading="FP16 engine",
        default=None,
    )
    engine_build_s: float | None = column(
        "building the engine of the Q/DQ file",
        "built",
        unit="s",
        better="lower",
        heading="built in",
        default=None,
    )
    fp32_engine_s: float | None = column(
        "building the engine of the FP32 ONNX file", unit="s", better="lower", default=None
    )
    fp16_engine_s: float | None = column(
        "building the FP16 engine", unit="s", better="lower", default=None
    )
    builder_warnings: int | None = column(
        "warnings of parser and builder on the Q/DQ file", "built", default=None
    )
    builder_warning_text: str = column("the first of these warnings", default="")
    builder_error: str = column("why the builder refused, if the row has no engine", default="")
    missing_scales: int | None = column(
        "tensors without a range that TensorRT warned of: layers beside them stay in float",
        better="lower",
        default=None,
    )
