"""Ahead of time: what a builder makes of a run's Q/DQ file, for a machine that is not this one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import onnx

from bench.engine.base import Builder
from bench.errors import EngineError
from bench.model.half import to_half
from bench.run.measure import fp32_model
from bench.run.spec import Run
from bench.timing import stopwatch

TOLD_WARNINGS = 3


def build_ahead(run: Run, builder: Builder, qdq: onnx.ModelProto) -> dict[str, Any]:
    """The row's columns about the engine of ``qdq`` and, to compare with, the float network's.

    Of what the builder refuses in FP32 or FP16 the columns stay empty. Raises EngineError if it
    refuses ``qdq``.
    """
    with stopwatch() as build:
        compiled = builder.compile_int8(qdq)
    float_engines = run.shared.once(
        "float engines",
        (builder, run.model.network.sha256, run.protocol.batch_size),
        lambda: _float_engines(builder, fp32_model(run)),
    )
    return {
        "engine_bytes": len(compiled.content),
        "engine_build_s": build.seconds,
        **float_engines,
        "builder_warnings": len(compiled.warnings),
        "builder_warning_text": "; ".join(compiled.warnings[:TOLD_WARNINGS]),
    }


def _float_engines(builder: Builder, fp32: onnx.ModelProto) -> Mapping[str, Any]:
    """The columns of the FP32 and FP16 engines; none of one that the builder refuses."""
    found: dict[str, Any] = {}
    for name, convert in (("fp32", lambda model: model), ("fp16", to_half)):
        with suppress(EngineError):
            model = convert(fp32)
            with stopwatch() as build:
                compiled = builder.compile(model)
            found[f"{name}_engine_bytes"] = len(compiled.content)
            found[f"{name}_engine_s"] = build.seconds
    return found
