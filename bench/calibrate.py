"""A run's dynamic ranges: from its calibration images to what every tensor is clipped to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.calibration.calibrator import after_fusion, find_ranges
from bench.calibration.collector import Calibration, Collector
from bench.calibration.statistics import Snapshot
from bench.calibration.trt_cache import to_json
from bench.model.fusion import fused_tensors
from bench.model.graph import Graph
from bench.quantization.grid import Range, amax_of, ranges_of
from bench.quantization.plan import PrecisionPlan, QuantizationPoints, place
from bench.results.histograms import HistogramStore, TensorHistogram
from bench.spec import Run
from bench.timing import stopwatch


@dataclass(frozen=True, eq=False)
class RunRanges:
    """Where Q/DQ goes, with which ranges, and the statistics they were found on.

    ``seconds`` were spent on finding every threshold.
    """

    graph: Graph
    points: QuantizationPoints
    calibration: Calibration
    ranges: Mapping[str, Range]
    seconds: float

    @property
    def amax(self) -> dict[str, float]:
        """The largest magnitude that each range keeps."""
        return {name: amax_of(own) for name, own in self.ranges.items()}


def find_run_ranges(run: Run) -> RunRanges:
    """Calibrate, and apply the run's calibrator, plan, placement and scheme."""
    graph = Graph(run.model.network)
    inside = fused_tensors(graph) if after_fusion(run.calibrator) else frozenset()
    points = place(run.plan, run.placement, graph, inside)
    calibration = calibrate(run, graph)
    with stopwatch() as threshold:
        snapshots = {s.name: s for s in calibration.snapshots if s.name in points.measured}
        amax = dict(find_ranges(run.calibrator, snapshots.values()))
        ranges = points.widest(_clipped_to(run, amax, snapshots))
    return RunRanges(graph, points, calibration, ranges, threshold.seconds)


def calibrate(run: Run, graph: Graph) -> Calibration:
    """Statistics of every tensor that any plan of this placement may quantize."""
    everything = place(PrecisionPlan("all"), run.placement, graph)
    how = run.calibration
    preprocess = run.model.preprocess.for_calibration(how.preprocess)
    collector = Collector(
        run.model.network,
        tuple(everything.sources),
        calibration_image(run),
        content_key(run.calibration_images, preprocess),
        run.cache,
    )
    return collector.collect(how.size, time.perf_counter)


def calibration_image(run: Run) -> Callable[[int], npt.NDArray[np.float32]]:
    """What gives image number i of the calibration set, (1, 3, height, width), as the network
    takes it."""
    order = run.calibration_order
    preprocess = run.model.preprocess.for_calibration(run.calibration.preprocess)

    def image(index: int) -> npt.NDArray[np.float32]:
        fitted, _ = preprocess.place(run.dataset.calibration.image(int(order[index])))
        return preprocess.normalise(fitted[None])

    return image


def _clipped_to(
    run: Run, amax: Mapping[str, float], snapshots: Mapping[str, Snapshot]
) -> dict[str, Range]:
    """What the measured tensors are clipped to; of the input, what is declared if so asked."""
    ranges = ranges_of(run.scheme, amax, snapshots)
    name, preprocess = run.model.network.input_name, run.model.preprocess
    if run.calibration.input_range == "declared" and name in ranges:
        symmetric = run.scheme == "symmetric"
        ranges[name] = preprocess.input_amax() if symmetric else preprocess.input_range()
    return ranges


def keep_reasons(run: Run, folder: Path, found: RunRanges) -> str:
    """Keep what explains the row: its ranges, and the histograms that they were found on.

    Returns the histograms' key: they are the same for all runs of a calibration set.
    """
    kept, how = HistogramStore(folder), run.calibration
    by_name = {snapshot.name: snapshot for snapshot in found.calibration.snapshots}
    snapshots = [by_name[name] for name in found.graph.order(by_name)]
    key = content_key(
        run.model.network.sha256, run.baseline_engine.version, run.calibration_images,
        found.calibration.size, run.model.preprocess.for_calibration(how.preprocess),
        *(snapshot.name for snapshot in snapshots),
    )  # fmt: skip
    kept.add_histograms(
        key,
        lambda: [
            TensorHistogram(s.name, s.min, s.max, s.count, s.magnitudes().counts) for s in snapshots
        ],
    )
    kept.add_ranges(run.key, to_json(found.amax))
    return key
