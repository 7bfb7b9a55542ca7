"""The parts of a run's row with its settings, its environment, and what was built."""

from __future__ import annotations

from typing import Any, Literal

import onnx

from bench import environment
from bench.calibration.calibrator import is_from_file
from bench.calibration.engine_file import EngineFile
from bench.calibration.quantized_file import QuantizedFile
from bench.engine.base import Description, unusual_options
from bench.results.columns.axes import Axes
from bench.results.columns.build import Build
from bench.results.columns.cost import Cost
from bench.results.columns.provenance import Provenance
from bench.run.aot import AheadOfTime
from bench.run.measured import Lost, Measured
from bench.run.ranges import RunRanges
from bench.run.spec import Run

MOST_WARNINGS = 3

Status = Literal["ok", "built", "skipped", "unfaithful", "raced"]


def axes_of(run: Run) -> Axes:
    how, builder = run.calibration, run.builder
    by_file = isinstance(run.calibrator, (QuantizedFile, EngineFile))
    return Axes(
        model=run.model.name,
        dataset=run.dataset.name,
        dataset_options=run.dataset_options,
        calibrator=run.calibrator.name,
        calibrator_params=run.calibrator.params,
        calibration_size=how.size,
        calibration_seed=how.seed,
        plan=run.plan.name,
        placement="" if by_file else run.placement,
        scheme=run.scheme,
        weight_scales="" if by_file else f"{run.weights.granularity} {run.weights.rule}",
        input_range=how.input_range,
        calibration_fingerprint=run.dataset.calibration.fingerprint,
        calibration_preprocess=how.preprocess,
        calibration_pad="same" if how.pad is None else str(how.pad),
        calibration_strategy=how.how,
        engine=run.engine.name,
        batch_size=run.measurement.batch_size,
        compute_capability=builder.compute_capability if builder else "",
        engine_options=unusual_options(run.engine),
    )


def provenance_of(
    run: Run,
    status: Status,
    error: str,
    *,
    measured: Measured | Lost | None,
    statistics_key: str,
    overrides: str,
    started_at: str,
    run_s: float,
    peak_memory_mb: float,
) -> Provenance:
    builder = run.builder
    facts = measured.described.facts if isinstance(measured, Measured) else None
    proof = measured.proof if isinstance(measured, Lost) else None
    baseline = f"{run.baseline_engine.name} {run.baseline_engine.version}"
    return Provenance(
        run_key=run.key,
        status=status,
        error=error,
        task=run.dataset.task,
        weights=run.model.weights,
        model_sha256=run.model.network.sha256,
        dataset_fingerprint=run.dataset.validation.fingerprint,
        engine_version=run.engine.version,
        builder=builder.name if builder else "",
        builder_version=builder.version if builder else "",
        baseline_engine=baseline if measured else "",
        threads=run.engine.threads,
        n_images=measured.fp32.n_images if measured else None,
        hardware=environment.hardware(),
        device=facts.device if facts else "",
        environment=environment.software(),
        git_commit=environment.git_commit(),
        harness_version=environment.harness_version(),
        started_at=started_at,
        plan_note=run.plan.note,
        overrides=overrides,
        statistics_key=statistics_key,
        calibration_overlap=run.calibration_overlap,
        raced_against=proof.against if proof else "",
        raced_ahead=proof.ahead if proof else None,
        run_s=run_s,
        peak_memory_mb=peak_memory_mb,
    )


def cost_of(run: Run, ranges: RunRanges) -> Cost:
    """Empty where a file has the ranges: what they cost is not known."""
    if is_from_file(run.calibrator):
        return Cost()
    return Cost(
        collect_s=ranges.collect_seconds,
        threshold_s=ranges.seconds,
        calibration_batches=ranges.native.batches if ranges.native else None,
    )


def build_of(
    qdq: onnx.ModelProto | None,
    build_s: float | None,
    ahead: AheadOfTime | None,
    described: Description | None = None,
) -> Build:
    """``build_s``: seconds to insert Q/DQ and to build the engine that runs, or a stand-in; None,
    and without Q/DQ, for an engine that was built elsewhere."""
    facts = described.facts if described else None
    built: dict[str, Any] = {}
    if facts:
        built = {
            "engine_bytes": facts.engine_bytes,
            "engine_build_s": facts.build_s,
            "missing_scales": facts.missing_scales,
        }
    if ahead and ahead.int8:
        built = {"engine_bytes": ahead.int8.size, "engine_build_s": ahead.int8.seconds}
    for name, engine in (ahead.floats if ahead else {}).items():
        built |= {f"{name}_engine_bytes": engine.size, f"{name}_engine_s": engine.seconds}
    return Build(
        build_s=build_s,
        qdq_bytes=qdq.ByteSize() if qdq is not None else None,
        **built,
        builder_warnings=len(ahead.warnings) if ahead and ahead.int8 else None,
        builder_warning_text="; ".join(ahead.warnings[:MOST_WARNINGS]) if ahead else "",
        builder_error=ahead.error if ahead else "",
    )
