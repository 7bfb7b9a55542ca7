"""Rows of the table that a target measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.cache import content_key
from bench.deploy.merge.returned import JobResult, Machine, TimesTaken
from bench.engine.base import Description
from bench.evaluation.task import Score
from bench.model.graph import Graph
from bench.results.columns.accuracy import Accuracy
from bench.results.columns.build import Build
from bench.results.columns.cost import Cost
from bench.results.columns.fidelity import Fidelity
from bench.results.columns.latency import Latency
from bench.results.row import Row
from bench.run.measured import difference_columns, layer_columns, mac_share, score_columns

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
    unchanged = {name: getattr(source, name) for name in _UNCHANGED}
    parts = (
        _accuracy(source, measured, floats, fp32),
        _latency(source, result, measured, floats, graph),
        Cost(calibration_batches=result.batches),
        _build(result, floats),
        _fidelity(source, measured),
    )
    values = {name: value for part in parts for name, value in vars(part).items()}
    status = {"ok": "ok", "failed": "skipped", "skipped": "skipped"}[result.status]
    row = Row(
        **{
            **unchanged,
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


_UNCHANGED = (
    "model", "dataset", "dataset_options", "calibrator", "calibrator_params", "calibration_size",
    "calibration_seed", "calibration_fingerprint", "calibration_preprocess", "calibration_pad",
    "calibration_strategy", "input_range", "plan", "placement", "scheme", "weight_scales",
    "batch_size", "task", "weights", "model_sha256", "dataset_fingerprint", "baseline_engine",
    "n_images", "git_commit", "harness_version", "calibration_overlap",
)  # fmt: skip
"""What a target does not change."""


def _options(result: JobResult) -> str:
    unusual = []
    if result.mode == "implicit":
        unusual.append("mode=implicit")
    if result.options.half:
        unusual.append("half=True")
    if result.options.dla is not None:
        unusual.append(f"dla={result.options.dla}")
    return ", ".join(unusual)


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
    half = floats.fp16[1] if floats.fp16 else None
    return Accuracy(
        **names,
        **score_columns(fp32, measured.int8),
        **difference_columns(fp32, "fp16", "fp16", half),
        predicted_int8=measured.predicted,
        engine_fp32=floats.fp32[1].value if floats.fp32 else None,
        classes_evaluated=source.classes_evaluated,
        n_classes=source.n_classes,
        published_fp32=source.published_fp32,
        published_note=source.published_note,
    )


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
    planned = mac_share(graph, measured.planned)
    ran = layer_columns(graph, measured.planned, measured.layers) if measured.layers else {}
    int8, fp32, fp16 = result.latency, _times(floats.fp32), _times(floats.fp16)
    if not int8.host_ms:
        return Latency(planned_mac_share=planned, **ran)
    return Latency(
        planned_mac_share=planned,
        **_percentiles("int8_latency", int8.host_ms),
        **_percentiles("fp32_latency", fp32.host_ms),
        **_percentiles("fp16_latency", fp16.host_ms),
        latency_rounds=len(int8.host_ms),
        speedup=_speedup(fp32, int8),
        speedup_fp16=_speedup(fp16, int8),
        throughput=1000 * source.batch_size / max(float(np.mean(int8.host_ms)), 1e-9),
        **ran,
        timing="alone",
        latency_note=""
        if measured.layers
        else f"{result.engine} does not report which layers ran in INT8",
        **_percentiles("device_latency", int8.device_ms),
        fp32_device_latency_p50_ms=_median(fp32.device_ms),
        fp16_device_latency_p50_ms=_median(fp16.device_ms),
        device_launch=("CUDA graph" if int8.graph else "kernels") if int8.device_ms else "",
        device_enqueue_p50_ms=int8.enqueue_p50_ms,
    )


def _times(float_job: tuple[JobResult, Score] | None) -> TimesTaken:
    return float_job[0].latency if float_job else TimesTaken()


def _percentiles(stem: str, times: Sequence[float]) -> dict[str, Any]:
    if not times:
        return {}
    values = np.percentile(times, PERCENTILES).tolist()
    return {f"{stem}_p{p}_ms": value for p, value in zip(PERCENTILES, values, strict=True)}


def _median(times: Sequence[float]) -> float | None:
    return float(np.median(times)) if times else None


def _speedup(slower: TimesTaken, faster: TimesTaken) -> float | None:
    """By the device's clock where it measured both, as in rows of a sweep; else by the host's."""
    for above, below in (
        (_median(slower.device_ms), _median(faster.device_ms)),
        (_median(slower.host_ms), _median(faster.host_ms)),
    ):
        if above and below:
            return above / below
    return None


def _build(result: JobResult, floats: Floats) -> Build:
    known: dict[str, Any] = {
        f"{name}_engine_bytes": float_job[0].engine_bytes
        for name, float_job in (("fp32", floats.fp32), ("fp16", floats.fp16))
        if float_job is not None
    }
    return Build(
        build_s=result.build_s,
        engine_bytes=result.engine_bytes,
        engine_build_s=result.build_s if result.engine == "tensorrt" else None,
        **known,
    )


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
