"""Ahead of time: what a builder makes of a run's Q/DQ file, for a machine that is not this one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import onnx

from bench.engine.base import Builder
from bench.errors import EngineError
from bench.model.half import to_half
from bench.model.onnx_model import OnnxModel, with_batch
from bench.timing import stopwatch

TOLD_WARNINGS = 3


def build_ahead(builder: Builder, qdq: onnx.ModelProto, network: OnnxModel) -> dict[str, Any]:
    """The row's columns about the engine of ``qdq`` and, to compare with, the float network's.

    In FP32 and FP16 it gets the batch that ``qdq`` has; of what the builder refuses the columns
    stay empty. Raises EngineError if the builder refuses ``qdq``.
    """
    with stopwatch() as build:
        compiled = builder.compile_int8(qdq)
    batch = qdq.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return {
        "engine_bytes": len(compiled.content),
        "engine_build_s": build.seconds,
        **_float_engines(builder, network, batch),
        "builder_warnings": len(compiled.warnings),
        "builder_warning_text": "; ".join(compiled.warnings[:TOLD_WARNINGS]),
    }


# Every run of a sweep has its engine beside the same float ones; building them anew is waste.
@lru_cache(maxsize=2)
def _float_engines(builder: Builder, network: OnnxModel, batch: int) -> Mapping[str, Any]:
    """The columns of the FP32 and FP16 engines; none of one that the builder refuses."""
    fp32 = with_batch(network.proto, network.input_name, batch)
    found: dict[str, Any] = {}
    for name, convert in (("fp32", lambda model: model), ("fp16", to_half)):
        with suppress(EngineError):
            model = convert(fp32)
            with stopwatch() as build:
                compiled = builder.compile(model)
            found[f"{name}_engine_bytes"] = len(compiled.content)
            found[f"{name}_engine_s"] = build.seconds
    return found
