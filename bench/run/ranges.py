"""A run's dynamic ranges: from its calibration images to the range of every tensor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import onnx

from bench import environment
from bench.cache import cached, content_key, source_key
from bench.calibration.calibrator import after_fusion
from bench.calibration.collector import Calibration, Collector
from bench.calibration.engine_file import EngineFile
from bench.calibration.native import (
    NativeCalibration,
    NativeCalibrator,
    calibrator_of_others,
)
from bench.calibration.per_tensor import PerTensor
from bench.calibration.quantized_file import QuantizedFile
from bench.calibration.ranges_file import RangesFile
from bench.calibration.statistics import Snapshot
from bench.calibration.trt_cache import to_json
from bench.engine.base import Calibrating, calibrates, others_natively
from bench.model.edit import with_batch
from bench.model.fusion import fused_tensors
from bench.model.graph import Graph
from bench.quantization.grid import Range, amax_of, ranges_of
from bench.quantization.plan import PrecisionPlan, QuantizationPoints, place
from bench.quantization.qdq import insert_qdq
from bench.results.histograms import HistogramStore, TensorHistogram
from bench.run.given import given_points, quantized_model, stored_ranges
from bench.run.inputs import calibration_image, inputs_key
from bench.run.rule_choice import choose_rules
from bench.run.spec import Run
from bench.run.thresholds import ThresholdSearch
from bench.sealed import read_sealed, sealed

_NATIVE_CODE = source_key(__name__, "bench.calibration", "bench.engine", "bench.model")


@dataclass(frozen=True, eq=False)
class RunRanges:
    """Where Q/DQ is placed, with which ranges, and the statistics behind them.

    ``seconds`` is the time to compute every threshold. ``native`` is the result of TensorRT's
    native calibrator, if it computed the ranges. ``rules`` names the rule behind each tensor's
    range, if the calibrator chooses one per tensor. ``given`` are the ranges for an engine with
    implicit quantization, if these are more than ``ranges``: also of tensors that only layers in
    float read. Without a range there, the layer before it would not run in INT8 either.
    """

    graph: Graph
    points: QuantizationPoints
    calibration: Calibration
    ranges: Mapping[str, Range]
    seconds: float
    native: NativeCalibration | None = None
    rules: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Range] = field(default_factory=dict)
    file: onnx.ModelProto | None = None
    """The Q/DQ file, where another tool quantized it."""
    known: bool = True
    """False for a serialized engine: neither its ranges nor its plan are known."""

    @property
    def given_amax(self) -> dict[str, float]:
        """The largest magnitudes that an engine with implicit quantization gets."""
        return {name: amax_of(range_) for name, range_ in (self.given or self.ranges).items()}

    @property
    def amax(self) -> dict[str, float]:
        """The largest magnitude that each range keeps."""
        return {name: amax_of(range_) for name, range_ in self.ranges.items()}

    @property
    def planned_mac_share(self) -> float | None:
        """The share of the multiply-accumulates with Q/DQ; None where the plan is not known."""
        return self.points.mac_share(self.graph) if self.known else None

    @property
    def collect_seconds(self) -> float:
        """Seconds that were spent on running the calibration images."""
        return self.native.collect_s if self.native else self.calibration.seconds

    @property
    def output_share(self) -> float | None:
        """Smallest amax / largest observed |x|, over the outputs that have a range.

        Only the implicit placements give outputs one, as TensorRT's caches do; None without.
        """
        observed = {s.name: max(abs(s.min), abs(s.max)) for s in self.calibration.snapshots}
        shares = [
            self.amax[name] / observed[name]
            for name in self.graph.output_names
            if name in self.ranges and observed.get(name)
        ]
        return min(shares, default=None)


def find_run_ranges(run: Run) -> RunRanges:
    """Calibrate, and apply the run's calibrator, plan, placement and scheme."""
    if isinstance(run.calibrator, NativeCalibrator):
        return _find_native_ranges(run, run.calibrator)
    if isinstance(run.calibrator, RangesFile):
        return _stored_ranges(run, run.calibrator)
    if isinstance(run.calibrator, QuantizedFile):
        return _given_ranges(run, run.calibrator)
    if isinstance(run.calibrator, EngineFile):
        return _no_ranges(run)
    graph = run.graph
    inside = fused_tensors(graph) if after_fusion(run.calibrator) else frozenset()
    points = place(run.plan, run.sharing, graph, inside)
    everywhere = place(PrecisionPlan("all"), run.sharing, graph, inside)
    wanted = points.measured | (everywhere.measured if calibrates(run.engine) else frozenset())
    calibration = calibrate(run, graph)
    snapshots = {s.name: s for s in calibration.snapshots if s.name in wanted}
    search = ThresholdSearch(run.shared, statistics_key(run, graph))
    chosen = _chosen_by_output(run, graph, calibration, search)
    thresholds = search.find(run.calibrator, snapshots, chosen)
    clipped = _clipped_to(run, thresholds.amax, snapshots)
    rules = _rules_of(run, thresholds.rules, points, clipped)
    ranges = points.widest(clipped)
    given: Mapping[str, Range] = {}
    if others_natively(run.engine):
        batch = run.model.network.input_shape[0]
        others = calibrator_of_others(batch, run.calibration.size)
        native = _ranges_in(_calibrate_natively(run, others))
        given = {name: ranges.get(name, range_) for name, range_ in native.items()}
    elif calibrates(run.engine):
        given = {**everywhere.widest(clipped), **ranges}
    return RunRanges(
        graph, points, calibration, ranges, thresholds.seconds, rules=rules, given=given
    )


def _chosen_by_output(
    run: Run, graph: Graph, calibration: Calibration, search: ThresholdSearch
) -> Mapping[str, str]:
    """The rule of each tensor, where the network's output chooses it."""
    calibrator = run.calibrator
    if not isinstance(calibrator, PerTensor) or calibrator.criterion == "local":
        return {}
    snapshots = {s.name: s for s in calibration.snapshots}
    return run.shared.once(
        "rules by output",
        (search.key, calibrator.params, run.sharing, run.scheme, run.weights),
        lambda: choose_rules(run, calibrator, search, snapshots),
    )


def _rules_of(
    run: Run, rules: Mapping[str, str], points: QuantizationPoints, clipped: Mapping[str, Range]
) -> dict[str, str]:
    """The rule behind each tensor's range; with several sources, that of the widest range; none
    where the range is declared."""
    known = dict(rules)
    if run.calibration.input_range == "declared":
        known.pop(run.model.network.input_name, None)
    widest = {
        tensor: max(sources, key=lambda source: amax_of(clipped[source]))
        for tensor, sources in points.sources.items()
    }
    return {tensor: known[source] for tensor, source in widest.items() if source in known}


def quantize(run: Run, ranges: RunRanges) -> onnx.ModelProto:
    """The run's Q/DQ model, with the run's batch."""
    network = run.model.network
    if ranges.file is not None:
        return ranges.file
    quantized = insert_qdq(network, ranges.graph, ranges.points, ranges.ranges, run.weights)
    return with_batch(quantized, network.input_name, run.measurement.batch_size)


def points_with(run: Run, graph: Graph, ranges: Mapping[str, Range]) -> QuantizationPoints:
    """Where Q/DQ is placed with existing ranges: a tensor without a range gets none.

    Rules that work after fusion give no ranges inside fused layers, and TensorRT's native
    calibrators leave out some tensors.
    """
    without = frozenset((graph.input_name, *graph.producer)) - ranges.keys()
    return place(run.plan, run.sharing, graph, without)


def _find_native_ranges(run: Run, calibrator: NativeCalibrator) -> RunRanges:
    """The ranges of TensorRT's calibrator, for the tensors that it chooses.

    Those that the plan quantizes carry Q/DQ. Our statistics of the same images are stored beside
    them for figures.
    """
    graph = run.graph
    native = _calibrate_natively(run, calibrator)
    ranges = _ranges_in(native)
    name = run.model.network.input_name
    if run.calibration.input_range == "declared" and name in ranges:
        ranges[name] = run.model.preprocess.input_amax()
    points = points_with(run, graph, ranges)
    return RunRanges(graph, points, calibrate(run, graph), ranges, native.threshold_s, native)


def _stored_ranges(run: Run, file: RangesFile) -> RunRanges:
    """The ranges of a file, at the places of the run's plan, with our statistics."""
    stored = stored_ranges(run, file)
    points = points_with(run, run.graph, stored)
    return RunRanges(run.graph, points, calibrate(run, run.graph), stored, 0.0)


def _given_ranges(run: Run, file: QuantizedFile) -> RunRanges:
    """The quantization in another tool's file, with our statistics."""
    given, name = given_points(run, file), quantized_model(run, file).input_name
    proto = with_batch(given.proto, name, run.measurement.batch_size)
    calibration = calibrate(run, run.graph)
    return RunRanges(run.graph, given.points, calibration, given.ranges, 0.0, file=proto)


def _no_ranges(run: Run) -> RunRanges:
    """A serialized engine's are not known, so there is nothing to compare with statistics."""
    nothing = Calibration(run.calibration.size, (), 0.0, ())
    return RunRanges(run.graph, QuantizationPoints((), (), {}), nothing, {}, 0.0, known=False)


def _ranges_in(native: NativeCalibration) -> dict[str, Range]:
    """The range of every tensor in the cache; a default range for one with only zeros."""
    return dict(native.cache.complete_ranges())


def _calibrate_natively(run: Run, calibrator: NativeCalibrator) -> NativeCalibration:
    """Computed once for all plans, and then stored on disk."""
    engine, how = cast(Calibrating, run.engine), run.calibration
    network = run.model.network
    size = calibrator.for_batch(network.input_shape[0]).batch_size
    assert size is not None
    key = content_key(
        network.sha256, inputs_key(run), how.size, calibrator.name, calibrator.params,
        run.engine.version, run.engine.options, _NATIVE_CODE,
        environment.versions("numpy", "onnx"), environment.arithmetic(),
    )  # fmt: skip

    def compute() -> Callable[[BinaryIO], object]:
        image = calibration_image(run)
        starts = range(0, how.size, size)
        batches = (np.concatenate([image(i) for i in range(at, at + size)]) for at in starts)
        model = with_batch(network.proto, network.input_name, size)
        native = engine.calibrate(model, calibrator, batches, len(starts))
        return sealed(path, lambda file: file.write(native.to_bytes()))

    path = run.cache / f"native-{key}.json"
    return cached(path, lambda p: NativeCalibration.from_bytes(read_sealed(p), str(p)), compute)


def calibrate(run: Run, graph: Graph) -> Calibration:
    """Statistics of every tensor that any plan of this placement may quantize."""
    collector = _collector(run, graph)
    return run.shared.once(
        "statistics",
        statistics_key(run, graph),
        lambda: collector.collect(run.calibration.size, time.perf_counter),
    )


def statistics_key(run: Run, graph: Graph) -> str:
    """The key of the histograms of a calibration set."""
    return content_key(_collector(run, graph).key, run.calibration.size)


def _collector(run: Run, graph: Graph) -> Collector:
    images = inputs_key(run)
    return run.shared.once(
        "collector",
        (run.model.network.sha256, run.sharing, images, run.cache),
        lambda: _make_collector(run, graph, images),
    )


def _make_collector(run: Run, graph: Graph, images_key: str) -> Collector:
    everything = place(PrecisionPlan("all"), run.sharing, graph)
    return Collector(
        run.model.network,
        tuple(everything.sources),
        calibration_image(run),
        images_key,
        run.cache,
    )


def _clipped_to(
    run: Run, amax: Mapping[str, float], snapshots: Mapping[str, Snapshot]
) -> dict[str, Range]:
    """The ranges of the measured tensors; the declared one for the input if so configured."""
    ranges = ranges_of(run.scheme, amax, snapshots)
    name, preprocess = run.model.network.input_name, run.model.preprocess
    if run.calibration.input_range == "declared" and name in ranges:
        symmetric = run.scheme == "symmetric"
        ranges[name] = preprocess.input_amax() if symmetric else preprocess.input_range()
    return ranges


def store_reasons(run: Run, folder: Path, ranges: RunRanges) -> str:
    """Store what explains the row: its ranges, the rules that they were chosen from, the histograms
    that they were computed from, and the cache that TensorRT's calibrator wrote.

    Returns the histograms' key: they are the same for all runs of a calibration set; "" where no
    ranges are known.
    """
    store = HistogramStore(folder)
    if not ranges.known:
        store.add_ranges(run.key, to_json({}))
        return ""
    by_name = {snapshot.name: snapshot for snapshot in ranges.calibration.snapshots}
    snapshots = [by_name[name] for name in ranges.graph.order(by_name)]
    key = statistics_key(run, ranges.graph)
    store.add_histograms(
        key,
        lambda: [
            TensorHistogram(s.name, s.min, s.max, s.count, s.magnitudes().counts) for s in snapshots
        ],
    )
    store.add_ranges(run.key, to_json(ranges.amax))
    if ranges.rules:
        store.add_rules(run.key, ranges.rules)
    if ranges.native:
        store.add_cache(run.key, ranges.native.cache.to_bytes())
    return key
