"""One target's results, job by job: scored, made rows, stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bench.cache import write_with
from bench.calibration.native import Algorithm
from bench.calibration.trt_cache import CalibrationCache, parse, to_json
from bench.deploy.merge.returned import JobResult, Target, TimesTaken
from bench.deploy.merge.rows import Floats, Measured, make_row, row_key
from bench.deploy.merge.scoring import Scoring, native_run
from bench.engine.base import Description
from bench.engine.trt.inspector import read_layers
from bench.errors import DataError
from bench.evaluation.judgement import pack_judgement, save_judgement
from bench.evaluation.task import Score
from bench.results.folder import SweepFolder
from bench.results.histograms import HistogramStore
from bench.results.layers import store_layers
from bench.results.row import Row
from bench.results.store import RowStore


def merge_target(
    target: Target, scoring: Scoring, rows: Sequence[Row], store: RowStore
) -> tuple[int, list[DataError]]:
    """How many rows were stored, and what was damaged: one job each, which is left out."""
    merging = _Merging(target, scoring, {row.run_key: row for row in rows}, store)
    damaged: list[DataError] = []
    merged = 0
    merging.floats = merging.read_floats(damaged)
    for job in target.record["jobs"]:
        if job["kind"] not in ("row", "native"):
            continue
        try:
            merged += merging.merge(job)
        except DataError as error:
            damaged.append(error)
    return merged, damaged


def _raw(latency: TimesTaken) -> dict[str, list[float]]:
    """What stands behind the row's latencies, and what it has no columns for."""
    single = {
        "enqueue_p50_ms": latency.enqueue_p50_ms,
        "device_without_graph_p50_ms": latency.device_without_graph_p50_ms,
    }
    return {
        "host_ms": latency.host_ms,
        "device_ms": latency.device_ms,
        **{name: [value] for name, value in single.items() if value is not None},
    }


class _Merging:
    def __init__(
        self, target: Target, scoring: Scoring, sources: Mapping[str, Row], store: RowStore
    ) -> None:
        self._target, self._scoring, self._sources, self._store = target, scoring, sources, store
        self._graph = scoring.run.graph
        self.floats = Floats()

    def read_floats(self, damaged: list[DataError]) -> Floats:
        found: dict[str, tuple[JobResult, Score]] = {}
        for job in ("fp32", "fp16"):
            try:
                result = self._target.result(job)
                if result is not None and result.status == "ok":
                    found[job] = (result, self._scoring.score(*self._target.predictions(result)))
            except DataError as error:
                damaged.append(error)
        return Floats(found.get("fp32"), found.get("fp16"))

    def merge(self, job: Mapping[str, str]) -> int:
        """1 if the job was done and its row stored."""
        result = self._target.result(job["id"])
        if result is None:
            return 0
        if job["kind"] == "native":
            return self._merge_native(job, result)
        source = self._sources.get(job["row"])
        if source is None:
            raise DataError(f"the sweep no longer has run {job['row']}", "Sweep again")
        planned = frozenset(self._target.record["rows"][job["row"]]["products"])
        self._add(source, result, source.int8, planned, {})
        return 1

    def _merge_native(self, job: Mapping[str, str], result: JobResult) -> int:
        """A row of TensorRT's own calibrator. Its prediction is made now, from its ranges."""
        calibrated = self._target.result(f"native-{job['algorithm']}")
        if calibrated is None or calibrated.status != "ok":
            return 0  # the version has none, or it failed: the calibration says why
        algorithm: Algorithm = job["algorithm"]  # type: ignore[assignment]
        source = self._sources[self._target.record["calibrated_as"]]
        run = native_run(source, algorithm)
        content, path = self._target.cache(calibrated)
        cache = parse(content, str(path))
        predicted = self._scoring.emulate(run, cache)
        key = row_key(source.run_key, result.job, self._target.machine)
        self._store_judged(f"{key}-here", predicted)
        axes = {
            "calibrator": run.calibrator.name,
            "calibrator_params": run.calibrator.params,
            "plan": run.plan.name,
            "placement": run.placement,
            "source_key": f"{key}-here",
        }
        self._store_cache(key, cache)
        self._add(source, result, predicted.value, frozenset(self._graph.compute), axes)
        return 1

    def _add(
        self,
        source: Row,
        result: JobResult,
        predicted: float | None,
        planned: frozenset[str],
        axes: Mapping[str, Any],
    ) -> None:
        target, ok = self._target, result.status == "ok"
        int8 = self._scoring.score(*target.predictions(result)) if ok else None
        told = target.layers(result) if ok else ""
        layers = self._read_layers(told, result) if told else None
        measured = Measured(result, int8, predicted, layers, planned)
        fp32 = self._scoring.fp32
        row = make_row(source, target.machine, measured, self.floats, fp32, self._graph, **axes)
        if int8 is not None:
            self._store_judged(row.run_key, int8)
        self._store_layers(row.run_key, layers, planned)
        self._store.add(row, _raw(result.latency))

    def _read_layers(self, told: str, result: JobResult) -> Description:
        try:
            return read_layers(told, self._graph.compute)
        except (TypeError, AttributeError, RecursionError) as error:
            path = self._target.folder / f"{result.job}.layers.json"
            raise DataError(f"{path} is not what TensorRT's inspector says ({error})") from error

    def _store_judged(self, key: str, score: Score) -> None:
        fp32 = self._scoring.fp32
        judged = pack_judgement(score.judged, score.replicates, fp32.replicates, score.least_error)
        path = SweepFolder(self._store.folder).judged(key)
        write_with(path, partial(save_judgement, arrays=judged))

    def _store_layers(self, key: str, layers: Description | None, planned: frozenset[str]) -> None:
        if layers is not None and layers.int8_nodes is not None:
            ran = layers.int8_nodes
            store_layers(self._store.folder, key, self._graph, planned, ran)

    def _store_cache(self, key: str, cache: CalibrationCache) -> None:
        histograms = HistogramStore(self._store.folder)
        histograms.add_cache(key, cache.to_bytes())
        histograms.add_ranges(key, to_json(dict(cache.complete_ranges())))
