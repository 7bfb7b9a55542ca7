"""Ahead of time: what a builder makes of a run's Q/DQ file, for a machine that is not this one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import onnx

from bench.engine.base import Builder
from bench.errors import EngineError
from bench.model.onnx_model import OnnxModel, with_batch
from bench.timing import stopwatch

TOLD_WARNINGS = 3


def build_ahead(builder: Builder, qdq: onnx.ModelProto, network: OnnxModel) -> dict[str, Any]:
    """The row's columns about the engine of ``qdq`` and, to compare with, that of the FP32 network.

    The FP32 network gets the batch that ``qdq`` has; if the builder refuses it, its columns stay
    empty. Raises EngineError if the builder refuses ``qdq``.
    """
    with stopwatch() as build:
        compiled = builder.compile(qdq)
    batch = qdq.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    fp32_bytes, fp32_s = _fp32_engine(builder, network, batch)
    return {
        "built_engine_bytes": len(compiled.content),
        "built_engine_s": build.seconds,
        "fp32_engine_bytes": fp32_bytes,
        "fp32_engine_s": fp32_s,
        "builder_warnings": len(compiled.warnings),
        "builder_said": "; ".join(compiled.warnings[:TOLD_WARNINGS]),
    }


# Every run of a sweep has its engine beside the same FP32 one; building that anew is waste.
@lru_cache(maxsize=2)
def _fp32_engine(
    builder: Builder, network: OnnxModel, batch: int
) -> tuple[int, float] | tuple[None, None]:
    """Bytes and seconds; None for both where the builder refuses it."""
    with stopwatch() as build:
        try:
            compiled = builder.compile(with_batch(network.proto, network.input_name, batch))
        except EngineError:
            return None, None
    return len(compiled.content), build.seconds
