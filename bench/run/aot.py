"""Ahead of time: engines that a builder makes from a run's Q/DQ file for another machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import onnx

from bench.engine.base import AotCompiler
from bench.errors import EngineError
from bench.model.half import to_half
from bench.run.measure import fp32_model
from bench.run.spec import Run
from bench.timing import stopwatch


@dataclass(frozen=True)
class BuiltEngine:
    """Size in bytes of an engine, and the seconds that building it took."""

    size: int
    seconds: float


@dataclass(frozen=True)
class AheadOfTime:
    """The engine of a Q/DQ file and, to compare with, those of the float network in ``fp32`` and
    ``fp16``, if the builder takes these. ``warnings`` are about the Q/DQ file.

    ``error`` says why there is no engine, if the builder refused the Q/DQ file.
    """

    int8: BuiltEngine | None = None
    floats: Mapping[str, BuiltEngine] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str = ""


def build_ahead(run: Run, builder: AotCompiler, qdq: onnx.ModelProto) -> AheadOfTime:
    """Build from ``qdq`` and from the float network; EngineError if the builder refuses ``qdq``."""
    with stopwatch() as build:
        compiled = builder.compile_int8(qdq)
    floats = run.shared.once(
        "float engines",
        (builder, run.model.network.sha256, run.measurement.batch_size),
        lambda: _float_engines(builder, fp32_model(run)),
    )
    int8 = BuiltEngine(len(compiled.content), build.seconds)
    return AheadOfTime(int8, floats, compiled.warnings)


def build_beside(run: Run, qdq: onnx.ModelProto) -> AheadOfTime | None:
    """The engines that ``also_build`` requests. A refusal is reported in the result, since the
    measured values are valid without it."""
    if run.also_build is None:
        return None
    try:
        return build_ahead(run, run.also_build, qdq)
    except EngineError as error:
        return AheadOfTime(error=str(error))


def _float_engines(builder: AotCompiler, fp32: onnx.ModelProto) -> Mapping[str, BuiltEngine]:
    """The FP32 and FP16 engines, without one that the builder refuses."""
    built: dict[str, BuiltEngine] = {}
    for name, convert in (("fp32", lambda model: model), ("fp16", to_half)):
        with suppress(EngineError):
            model = convert(fp32)
            with stopwatch() as build:
                compiled = builder.compile(model)
            built[name] = BuiltEngine(len(compiled.content), build.seconds)
    return built
