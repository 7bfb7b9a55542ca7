"""The parts of a run's row, each made in one place of what was asked and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from bench import environment
from bench.engine.base import Description, unusual_options
from bench.evaluation.operating_point import ThresholdShift
from bench.evaluation.task import Evidence, Score, compare
from bench.results.columns.accuracy import Accuracy
from bench.results.columns.axes import Axes
from bench.results.columns.cost import Cost
from bench.results.columns.provenance import Provenance
from bench.results.columns.speed import Speed
from bench.results.layers import keep_layers
from bench.run.aot import AheadOfTime
from bench.run.faithfulness import Agreement
from bench.run.measure import classes_evaluated, decibels_of_parts, task_of
from bench.run.ranges import RunRanges
from bench.run.spec import Run
from bench.timing import Latency

LOW_INT8_SHARE = 0.5
MOST_WARNINGS = 3

Status = Literal["ok", "built", "skipped", "unfaithful"]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of a run: FP32, its INT8 and, where these are something else, the
    engine's INT8 kernels; where the engine has it, FP16."""

    baseline: Evidence[Any]
    fp32: Score
    evidence: Evidence[Any]
    int8: Score
    kernels: Score | None
    fp16: Score | None
    shift: ThresholdShift | None
    agreement: Agreement
    latencies: Mapping[str, Latency]
    device_medians_ms: Mapping[str, float]
    described: Description


def axes_of(run: Run) -> Axes:
    how, builder = run.calibration, run.builder
    return Axes(
        model=run.model.name,
        dataset=run.dataset.name,
        dataset_options=run.dataset_options,
        calibrator=run.calibrator.name,
        calibrator_params=run.calibrator.params,
        calibration_size=how.size,
        calibration_seed=how.seed,
        plan=run.plan.name,
        placement=run.placement,
        scheme=run.scheme,
        weight_scales=f"{run.weights.granularity} {run.weights.rule}",
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
    measured: Measured | None,
    statistics_key: str,
    overrides: str,
    started_at: str,
    run_s: float,
    peak_memory_mb: float,
) -> Provenance:
    builder = run.builder
    facts = measured.described.facts if measured else None
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
        overrides=overrides,
        statistics_key=statistics_key,
        calibration_overlap=run.calibration_overlap,
        run_s=run_s,
        peak_memory_mb=peak_memory_mb,
    )


def accuracy_of(run: Run, ranges: RunRanges | None, measured: Measured | None) -> Accuracy:
    """Of a run that was not measured it has the metric's names and the input's range alone."""
    task, preprocess = task_of(run), run.model.preprocess
    known: dict[str, Any] = {"metric": task.metric, "secondary_metric": task.secondary_metric}
    if ranges:
        known |= {
            "input_amax": ranges.amax.get(run.model.network.input_name),
            "input_true_amax": preprocess.input_amax(),
            "output_amax_share": ranges.output_share,
        }
    if not measured:
        return Accuracy(**known)
    fp32, int8, agreement = measured.fp32, measured.int8, measured.agreement
    interval, shift = compare(fp32, int8), measured.shift
    decibels = decibels_of_parts(
        run.model.head, measured.baseline.outputs, measured.evidence.outputs
    )
    return Accuracy(
        **known,
        fp32=fp32.value,
        int8=int8.value,
        delta=interval.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        **_published(run, fp32),
        secondary_fp32=fp32.secondary,
        secondary_int8=int8.secondary,
        images_per_class=fp32.images_per_class,
        classes_evaluated=classes_evaluated(run),
        n_classes=len(run.dataset.class_names),
        sqnr_db=float(np.min(list(decibels.values()))),
        sqnr_boxes_db=decibels.get("boxes"),
        sqnr_scores_db=decibels.get("scores"),
        accuracy_by=run.accuracy_by or "",
        exact_sqnr_db=agreement.decibels,
        exact_sqnr_limit_db=agreement.limit_db,
        exact_delta=agreement.difference,
        **_against(fp32, "kernels", "kernels_int8", measured.kernels),
        **_against(fp32, "fp16", "fp16", measured.fp16),
        **(_of_thresholds(shift) if shift else {}),
    )


def _published(run: Run, fp32: Score) -> dict[str, Any]:
    """What is published of the model, where it is about this metric and these classes."""
    published = run.model.published
    if not published or not published.applies(task_of(run).metric, len(run.dataset.class_names)):
        return {}
    doubt = published.doubt(fp32.value, run.n_images)
    return {"published_fp32": published.value, "published_note": doubt}


def _against(fp32: Score, name: str, column: str, other: Score | None) -> dict[str, Any]:
    if other is None:
        return {}
    interval = compare(fp32, other)
    return {
        column: other.value,
        f"{name}_delta": interval.estimate,
        f"{name}_ci_low": interval.low,
        f"{name}_ci_high": interval.high,
    }


def _of_thresholds(shift: ThresholdShift) -> dict[str, Any]:
    return {
        "f1_threshold_fp32": shift.fp32,
        "f1_threshold_int8": shift.int8,
        "f1_fp32": shift.f1_fp32,
        "f1_int8": shift.f1_int8,
        "f1_int8_at_fp32_threshold": shift.f1_kept,
        "f1_loss_ci_low": shift.loss_low,
        "f1_loss_ci_high": shift.loss_high,
        "f1_threshold_loss_ci_low": shift.low,
        "f1_threshold_loss_ci_high": shift.high,
    }


def speed_of(
    run: Run, ranges: RunRanges, measured: Measured | None, caveat: str, folder: Path
) -> Speed:
    """``caveat``: what is to be said of every latency; the layers' names go to ``folder``."""
    planned = ranges.points.mac_share(ranges.graph)
    if not measured:
        return Speed(planned_mac_share=planned)
    latencies, described = measured.latencies, measured.described
    medians = {name: latency.percentile_ms(50) for name, latency in latencies.items()}
    percentiles: dict[str, Any] = {
        f"{name}_latency_p{percent}_ms": latency.percentile_ms(percent)
        for name, latency in latencies.items()
        for percent in (50, 90, 99)
    }
    share = _int8_share(run, ranges, described, folder)
    return Speed(
        planned_mac_share=planned,
        **percentiles,
        latency_rounds=len(latencies["int8"].nanoseconds),
        speedup=medians["fp32"] / medians["int8"],
        speedup_fp16=medians["fp16"] / medians["int8"] if "fp16" in medians else None,
        speedup_baseline=medians["baseline"] / medians["int8"],
        throughput=run.measurement.batch_size * 1e9 / float(np.mean(latencies["int8"].nanoseconds)),
        **share,
        latency_note=caveat or _latency_note(run.engine.name, share.get("int8_mac_share")),
        **_on_device(measured),
    )


def _int8_share(
    run: Run, ranges: RunRanges, described: Description, folder: Path
) -> dict[str, Any]:
    """What really ran in INT8; empty where the engine does not tell."""
    graph, ran = ranges.graph, described.int8_nodes
    if ran is None:
        return {}
    planned = ranges.points.products(graph)
    keep_layers(folder, run.key, graph, planned, ran)
    share = sum(map(graph.macs, ran & set(graph.compute))) / sum(map(graph.macs, graph.compute))
    return {
        "int8_mac_share": share,
        "int8_layers": described.int8_layers,
        "product_layers": described.layers,
        "planned_layers_in_float": len(planned - ran),
    }


def _latency_note(engine: str, share: float | None) -> str:
    if share is None:
        return f"{engine} does not tell which layers ran in INT8"
    if share >= LOW_INT8_SHARE:
        return ""
    return f"{engine} ran only {share:.0%} of the multiply-accumulates in INT8"


def _on_device(measured: Measured) -> dict[str, Any]:
    facts = measured.described.facts
    if facts is None:
        return {}
    return {
        "device_latency_p50_ms": facts.latency_p50_ms,
        "device_latency_p90_ms": facts.latency_p90_ms,
        "device_latency_p99_ms": facts.latency_p99_ms,
        "device_throughput": facts.throughput,
        "device_memory_mb": facts.memory_mb,
        "device_clock_mhz": facts.clock_mhz,
        "device_temperature_c": facts.temperature_c,
        **{
            f"{name}_device_latency_p50_ms": median
            for name, median in measured.device_medians_ms.items()
        },
    }


def cost_of(
    ranges: RunRanges,
    qdq: onnx.ModelProto,
    build_s: float,
    ahead: AheadOfTime | None,
    described: Description | None = None,
) -> Cost:
    """``build_s``: inserting Q/DQ and building the engine that runs, or what stands for it."""
    facts = described.facts if described else None
    built: dict[str, Any] = {}
    if facts:
        built = {"engine_bytes": facts.engine_bytes, "engine_build_s": facts.build_s}
    if ahead and ahead.int8:
        built = {"engine_bytes": ahead.int8.size, "engine_build_s": ahead.int8.seconds}
    for name, engine in (ahead.floats if ahead else {}).items():
        built |= {f"{name}_engine_bytes": engine.size, f"{name}_engine_s": engine.seconds}
    return Cost(
        collect_s=ranges.collect_seconds,
        threshold_s=ranges.seconds,
        calibration_batches=ranges.native.batches if ranges.native else None,
        build_s=build_s,
        qdq_bytes=qdq.ByteSize(),
        **built,
        builder_warnings=len(ahead.warnings) if ahead and ahead.int8 else None,
        builder_warning_text="; ".join(ahead.warnings[:MOST_WARNINGS]) if ahead else "",
        builder_error=ahead.error if ahead else "",
    )
