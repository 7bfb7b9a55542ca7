"""The measurements of a run, and the parts of its row made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.engine.base import Description, DeviceTimes
from bench.evaluation.operating_point import ThresholdShift
from bench.evaluation.task import Evidence, Score, compare
from bench.model.graph import Graph
from bench.results.columns.accuracy import Accuracy
from bench.results.columns.fidelity import Fidelity
from bench.results.columns.latency import Latency
from bench.results.layers import store_layers
from bench.run.faithfulness import Agreement
from bench.run.machine import Sharing
from bench.run.measure import classes_evaluated, decibels_of_parts, task_of
from bench.run.ranges import RunRanges
from bench.run.spec import Run
from bench.timing import CallTimes

LOW_INT8_SHARE = 0.5

MOST_ENQUEUE = 0.8
"""Share of the GPU's time that launching may take before trtexec warns."""

SHARED = "other runs used the machine while this one was timed"


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
    latencies: Mapping[str, CallTimes]
    sharing: Sharing
    device_times: Mapping[str, DeviceTimes]
    described: Description


@dataclass(frozen=True)
class Proof:
    """Against which row (its key, or FP32) a run lost, in a sentence why, and the most by which it
    may be ahead of that row on all images."""

    against: str
    why: str
    ahead: float


@dataclass(frozen=True, eq=False)
class Lost:
    """A run that lost; the scores are those of FP32 and of the run on the images that it saw."""

    proof: Proof
    fp32: Score
    int8: Score


def accuracy_of(run: Run, measured: Measured | Lost | None) -> Accuracy:
    """For a run that was not measured it has only the names of the metrics."""
    task = task_of(run)
    names: dict[str, Any] = {"metric": task.metric, "secondary_metric": task.secondary_metric}
    if isinstance(measured, Lost):
        return Accuracy(
            **names,
            **score_columns(measured.fp32, measured.int8),
            classes_evaluated=int((measured.fp32.class_counts > 0).sum()),
            n_classes=len(run.dataset.class_names),
        )
    if not measured:
        return Accuracy(**names)
    fp32 = measured.fp32
    return Accuracy(
        **names,
        **score_columns(fp32, measured.int8),
        **_published(run, fp32),
        classes_evaluated=classes_evaluated(run),
        n_classes=len(run.dataset.class_names),
        **difference_columns(fp32, "fp16", "fp16", measured.fp16),
        **(_of_thresholds(measured.shift) if measured.shift else {}),
    )


def score_columns(fp32: Score, int8: Score) -> dict[str, Any]:
    """INT8 beside FP32, with the interval of the difference."""
    interval = compare(fp32, int8)
    return {
        "fp32": fp32.value,
        "int8": int8.value,
        "delta": interval.estimate,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "secondary_fp32": fp32.secondary,
        "secondary_int8": int8.secondary,
        "images_per_class": fp32.images_per_class,
    }


def _published(run: Run, fp32: Score) -> dict[str, Any]:
    """The published FP32 value of the model, if it has this metric and these classes."""
    published = run.model.published
    if not published or not published.applies(task_of(run).metric, len(run.dataset.class_names)):
        return {}
    doubt = published.doubt(fp32.value, run.n_images)
    return {"published_fp32": published.value, "published_note": doubt}


def difference_columns(fp32: Score, name: str, column: str, other: Score | None) -> dict[str, Any]:
    """``other`` in ``column``, and its difference from FP32 in columns that begin with ``name``;
    empty where it was not measured."""
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
        "f1_int8_at_fp32_threshold": shift.f1_at_fp32_threshold,
        "f1_loss_ci_low": shift.loss_low,
        "f1_loss_ci_high": shift.loss_high,
        "f1_threshold_loss_ci_low": shift.low,
        "f1_threshold_loss_ci_high": shift.high,
    }


def fidelity_of(run: Run, ranges: RunRanges, measured: Measured | Lost | None) -> Fidelity:
    """For a run that was not measured to its end it has only the values of its ranges."""
    known: dict[str, Any] = {
        "input_amax": ranges.amax.get(run.model.network.input_name),
        "input_true_amax": run.model.preprocess.input_amax(),
        "output_amax_share": ranges.output_share,
    }
    if isinstance(measured, Lost):
        return Fidelity(**known, accuracy_by=run.accuracy_by or "")
    if not measured:
        return Fidelity(**known)
    agreement = measured.agreement
    decibels = decibels_of_parts(
        run.model.head, measured.baseline.outputs, measured.evidence.outputs
    )
    return Fidelity(
        **known,
        sqnr_db=float(np.min(list(decibels.values()))),
        sqnr_boxes_db=decibels.get("boxes"),
        sqnr_scores_db=decibels.get("scores"),
        accuracy_by=run.accuracy_by or "",
        exact_sqnr_db=agreement.decibels,
        exact_sqnr_limit_db=agreement.limit_db,
        exact_delta=agreement.difference,
        **difference_columns(measured.fp32, "kernels", "kernels_int8", measured.kernels),
    )


def latency_of(run: Run, ranges: RunRanges, measured: Measured | None, folder: Path) -> Latency:
    """The layers' names are written to ``folder``."""
    planned = ranges.planned_mac_share
    if not measured:
        return Latency(planned_mac_share=planned)
    share = _int8_share(run, ranges, measured.described, folder)
    if not measured.latencies:
        return Latency(planned_mac_share=planned, **share)
    latencies = measured.latencies
    medians = {name: latency.percentile_ms(50) for name, latency in latencies.items()}
    percentiles: dict[str, Any] = {
        f"{name}_latency_p{percent}_ms": latency.percentile_ms(percent)
        for name, latency in latencies.items()
        for percent in (50, 90, 99)
    }
    # The GPU's clock measures the kernels alone: whole calls are mostly the same transfers.
    on_device = {name: times.latency_p50_ms for name, times in measured.device_times.items()}
    compared = medians | on_device
    return Latency(
        planned_mac_share=planned,
        **percentiles,
        latency_rounds=len(latencies["int8"].nanoseconds),
        speedup=compared["fp32"] / compared["int8"],
        speedup_fp16=compared["fp16"] / compared["int8"] if "fp16" in compared else None,
        speedup_baseline=medians["baseline"] / medians["int8"],
        throughput=run.measurement.batch_size * 1e9 / float(np.mean(latencies["int8"].nanoseconds)),
        **share,
        timing=measured.sharing,
        latency_note=_latency_note(run, measured, share.get("int8_mac_share")),
        **_on_device(measured),
    )


def _int8_share(
    run: Run, ranges: RunRanges, described: Description, folder: Path
) -> dict[str, Any]:
    """What really ran in INT8; empty where the engine does not report it."""
    graph, ran = ranges.graph, described.int8_nodes
    if ran is None:
        return {}
    planned = ranges.points.products(graph) if ranges.known else None
    store_layers(folder, run.key, graph, planned, ran)
    return layer_columns(graph, planned, described)


def layer_columns(
    graph: Graph, planned: frozenset[str] | None, described: Description
) -> dict[str, Any]:
    """What really ran in INT8, of the ``planned`` products (None: not known); empty where the
    engine does not report it."""
    ran = described.int8_nodes
    if ran is None:
        return {}
    return {
        "int8_mac_share": mac_share(graph, ran),
        "int8_layers": described.int8_layers,
        "product_layers": described.layers,
        "planned_layers_in_float": None if planned is None else len(planned - ran),
    }


def mac_share(graph: Graph, nodes: frozenset[str]) -> float:
    """The share of the multiply-accumulates that these nodes make."""
    return sum(map(graph.macs, nodes & set(graph.compute))) / sum(map(graph.macs, graph.compute))


def _latency_note(run: Run, measured: Measured, share: float | None) -> str:
    if measured.sharing == "shared":
        return SHARED
    if share is None:
        return f"{run.engine.name} does not report which layers ran in INT8"
    if share < LOW_INT8_SHARE:
        return f"{run.engine.name} ran only {share:.0%} of the multiply-accumulates in INT8"
    return _bound_by_host(measured.device_times.get("int8"))


def _bound_by_host(times: DeviceTimes | None) -> str:
    """A warning like that of trtexec: the times are then those of the host that launches."""
    if times is None or times.enqueue_p50_ms <= MOST_ENQUEUE * times.latency_p50_ms:
        return ""
    # Without numbers, since rows with the same note share one warning; columns have the numbers.
    fix = "a larger evaluation.batch_size" if times.graph else "engine.cuda_graphs=true"
    return (
        f"the GPU waits for the host, which needs more than {MOST_ENQUEUE:.0%} of its time to "
        f"launch: {fix} may help"
    )


def _on_device(measured: Measured) -> dict[str, Any]:
    facts, times = measured.described.facts, measured.device_times
    known: dict[str, Any] = {"device_memory_mb": facts.memory_mb} if facts else {}
    for name in ("fp32", "fp16"):
        if name in times:
            known[f"{name}_device_latency_p50_ms"] = times[name].latency_p50_ms
    if int8 := times.get("int8"):
        known |= {
            "device_latency_p50_ms": int8.latency_p50_ms,
            "device_latency_p90_ms": int8.latency_p90_ms,
            "device_latency_p99_ms": int8.latency_p99_ms,
            "device_launch": "CUDA graph" if int8.graph else "kernels",
            "device_enqueue_p50_ms": int8.enqueue_p50_ms,
            "device_upload_p50_ms": int8.upload_p50_ms,
            "device_download_p50_ms": int8.download_p50_ms,
            "device_throughput": int8.throughput,
            "device_clock_mhz": int8.clock_mhz,
            "device_temperature_c": int8.temperature_c,
        }
    return known
