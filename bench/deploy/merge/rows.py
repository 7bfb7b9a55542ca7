"""Rows of the table that a target measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.cache import content_key
from bench.deploy.merge.returned import JobResult, Machine, TimesTaken
from bench.engine.base import Description
from bench.evaluation.estimate import Interval
from bench.evaluation.task import Score, compare
from bench.model.graph import Graph
from bench.results.columns.accuracy import Accuracy
from bench.results.columns.build import Build
from bench.results.columns.cost import Cost
from bench.results.columns.fidelity import Fidelity
from bench.results.columns.latency import Latency
from bench.results.row import Row

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, eq=False)
class Floats:
    """What the target measured of the network in FP32 and FP16, where it did."""

    fp32: tuple[JobResult, Score] | None = None
    fp16: tuple[JobResult, Score] | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """One INT8 job of a target: ``int8`` is None where it has no predictions. ``predicted`` is the
    same file's INT8 as it was computed here; ``layers`` what ran in INT8, if TensorRT told."""

    result: JobResult
    int8: Score | None
    predicted: float | None
    layers: Description | None
    planned: frozenset[str]


def row_key(source: str, job: str, machine: Machine) -> str:
    """Of what a target measured: the same again gives the same key."""
    return content_key("target", source, job, machine.model_dump_json())[:16]


def make_row(
    source: Row,
    machine: Machine,
    measured: Measured,
    floats: Floats,
    fp32: Score,
    graph: Graph,
    **axes: Any,
) -> Row:
    """The row of a job that measured the files of ``source``, or with other ``axes``.

    ``fp32`` is the baseline, as everywhere the FP32 ONNX file as it was computed here.
    """
    result = measured.result
    kept = {name: getattr(source, name) for name in _KEPT}
    parts = (
        _accuracy(source, measured, floats, fp32),
        _latency(source, result, measured, floats, graph),
        Cost(calibration_batches=result.batches),
        _build(result, floats),
        _fidelity(source, measured),
    )
    values = {name: own for part in parts for name, own in vars(part).items()}
    status = {"ok": "ok", "failed": "skipped", "skipped": "skipped"}[result.status]
    row = Row(
        **{
            **kept,
            **values,
            "run_key": row_key(source.run_key, result.job, machine),
            "source_key": source.run_key,
            "status": status,
            "error": result.reason if status == "skipped" else "",
            "engine": result.engine,
            "engine_version": machine.version,
            "engine_options": _options(result),
            "measured_on": machine.name,
            "threads": 0,
            "hardware": f"{machine.processor}, {machine.cores} cores",
            "device": _device(machine),
            "environment": machine.environment,
            "started_at": result.ended_at,
            **axes,
        }
    )
    return Row.from_json({name: _finite(value) for name, value in row.to_json().items()})


_KEPT = (
    "model", "dataset", "dataset_options", "calibrator", "calibrator_params", "calibration_size",
    "calibration_seed", "calibration_fingerprint", "calibration_preprocess", "calibration_pad",
    "calibration_strategy", "input_range", "plan", "placement", "scheme", "weight_scales",
    "batch_size", "task", "weights", "model_sha256", "dataset_fingerprint", "baseline_engine",
    "n_images", "git_commit", "harness_version", "calibration_overlap",
)  # fmt: skip
"""What a target does not change."""


def _options(result: JobResult) -> str:
    told = []
    if result.mode == "implicit":
        told.append("mode=implicit")
    if result.options.half:
        told.append("half=True")
    if result.options.dla is not None:
        told.append(f"dla={result.options.dla}")
    return ", ".join(told)


def _device(machine: Machine) -> str:
    if machine.engine != "tensorrt":
        return ""
    capability = f", compute capability {machine.capability}" if machine.capability else ""
    driver = f", driver for CUDA {machine.driver_cuda}" if machine.driver_cuda else ""
    return f"{machine.gpu}{capability}{driver}{f', {machine.l4t}' if machine.l4t else ''}"


def _accuracy(source: Row, measured: Measured, floats: Floats, fp32: Score) -> Accuracy:
    names: dict[str, Any] = {"metric": source.metric, "secondary_metric": source.secondary_metric}
    if measured.int8 is None:
        return Accuracy(**names, predicted_int8=measured.predicted)
    int8, interval = measured.int8, compare(fp32, measured.int8)
    half = compare(fp32, floats.fp16[1]) if floats.fp16 else None
    return Accuracy(
        **names,
        fp32=fp32.value,
        int8=int8.value,
        delta=interval.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        predicted_int8=measured.predicted,
        engine_fp32=floats.fp32[1].value if floats.fp32 else None,
        secondary_fp32=fp32.secondary,
        secondary_int8=int8.secondary,
        images_per_class=fp32.images_per_class,
        classes_evaluated=source.classes_evaluated,
        n_classes=source.n_classes,
        published_fp32=source.published_fp32,
        published_note=source.published_note,
        fp16=floats.fp16[1].value if floats.fp16 else None,
        **_ends("fp16", half),
    )


def _ends(name: str, interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {}
    values = (interval.estimate, interval.low, interval.high)
    return dict(zip((f"{name}_delta", f"{name}_ci_low", f"{name}_ci_high"), values, strict=True))


def _fidelity(source: Row, measured: Measured) -> Fidelity:
    """How far INT8 there is from the exact computation here stands in ``exact_delta``."""
    exact = measured.result.engine == "onnxruntime"
    known = measured.int8 is not None and measured.predicted is not None
    return Fidelity(
        accuracy_by="exact emulation" if exact else "int8 kernels",
        exact_delta=measured.int8.value - measured.predicted  # type: ignore[union-attr,operator]
        if known
        else None,
        input_true_amax=source.input_true_amax,
    )


def _latency(
    source: Row, result: JobResult, measured: Measured, floats: Floats, graph: Graph
) -> Latency:
    planned = _share(graph, measured.planned)
    own = _percentiles("int8", result.latency.host_ms)
    fp32 = _times(floats.fp32)
    fp16 = _times(floats.fp16)
    if not own:
        return Latency(planned_mac_share=planned, **_ran(measured, graph))
    host = result.latency.host_ms
    return Latency(
        planned_mac_share=planned,
        **own,
        **_percentiles("fp32", fp32.host_ms if fp32 else []),
        **_percentiles("fp16", fp16.host_ms if fp16 else []),
        latency_rounds=len(host),
        speedup=_ratio(fp32.host_ms if fp32 else [], host),
        speedup_fp16=_ratio(fp16.host_ms if fp16 else [], host),
        throughput=1000 * source.batch_size / max(float(np.mean(host)), 1e-9),
        **_ran(measured, graph),
        timing="alone",
        latency_note=""
        if measured.layers
        else f"{result.engine} does not tell which layers ran in INT8",
        **_percentiles("device", result.latency.device_ms, "device_latency"),
        fp32_device_latency_p50_ms=_median(fp32.device_ms if fp32 else []),
        fp16_device_latency_p50_ms=_median(fp16.device_ms if fp16 else []),
    )


def _times(float_job: tuple[JobResult, Score] | None) -> TimesTaken | None:
    return float_job[0].latency if float_job else None


def _percentiles(name: str, times: Sequence[float], stem: str = "") -> dict[str, Any]:
    """Columns of a precision's host latency, or of the device's."""
    if not times:
        return {}
    stem = stem or f"{name}_latency"
    values = np.percentile(times, PERCENTILES).tolist()
    return {f"{stem}_p{p}_ms": value for p, value in zip(PERCENTILES, values, strict=True)}


def _median(times: Sequence[float]) -> float | None:
    return float(np.median(times)) if times else None


def _ratio(slower: Sequence[float], faster: Sequence[float]) -> float | None:
    above, below = _median(slower), _median(faster)
    return above / below if above and below else None


def _ran(measured: Measured, graph: Graph) -> dict[str, Any]:
    layers = measured.layers
    if layers is None or layers.int8_nodes is None:
        return {}
    return {
        "int8_mac_share": _share(graph, layers.int8_nodes),
        "int8_layers": layers.int8_layers,
        "product_layers": layers.layers,
        "planned_layers_in_float": len(measured.planned - layers.int8_nodes),
    }


def _share(graph: Graph, nodes: frozenset[str]) -> float:
    return sum(map(graph.macs, nodes & set(graph.compute))) / sum(map(graph.macs, graph.compute))


def _build(result: JobResult, floats: Floats) -> Build:
    known: dict[str, Any] = {
        f"{name}_engine_bytes": own[0].engine_bytes
        for name, own in (("fp32", floats.fp32), ("fp16", floats.fp16))
        if own is not None
    }
    return Build(
        build_s=result.build_s,
        engine_bytes=result.engine_bytes,
        engine_build_s=result.build_s if result.engine == "tensorrt" else None,
        **known,
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
