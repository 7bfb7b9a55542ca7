"""What a threshold costs, of every calibrator."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from time import perf_counter

from bench.calibration.calibrator import Calibrator
from bench.calibration.entropy import Entropy2
from bench.calibration.legacy import Legacy
from bench.calibration.minmax import MinMax
from bench.calibration.moving_average import MovingAverage
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot

CALIBRATORS: dict[str, Calibrator] = {
    "minmax": MinMax(),
    "entropy2": Entropy2(),
    "entropy2 modelopt": Entropy2(variant="modelopt"),
    "entropy2 onnxruntime": Entropy2(variant="onnxruntime"),
    "percentile": Percentile(),
    "mse": Mse(),
    "legacy": Legacy(),
    "moving_average": MovingAverage(),
}


def threshold_times(snapshots: Sequence[Snapshot], rounds: int) -> dict[str, float]:
    """Milliseconds a tensor of each calibrator over all tensors, medians of the rounds."""
    times: dict[str, list[float]] = {name: [] for name in CALIBRATORS}
    for calibrator in CALIBRATORS.values():
        calibrator.amax(snapshots[0])  # compiles or loads
    for _ in range(rounds):
        for name, calibrator in CALIBRATORS.items():
            begin = perf_counter()
            for snapshot in snapshots:
                calibrator.amax(snapshot)
            times[name].append((perf_counter() - begin) * 1e3 / len(snapshots))
    return {name: statistics.median(values) for name, values in times.items()}
