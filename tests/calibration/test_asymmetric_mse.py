"""The asymmetric MSE search: against plain NumPy, and against the symmetric one."""

from __future__ import annotations

import numpy as np
import pytest

from bench.calibration.asymmetric_mse import AsymmetricMse
from bench.calibration.mse import Mse
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import ConfigError
from bench.quantization.grid import grid_of, ranges_of


def look(values: np.ndarray) -> Snapshot:
    statistics = TensorStatistics("x")
    statistics.update(values)
    return statistics.snapshot()


def error(values: np.ndarray, threshold: float) -> float:
    """Squared error of the values themselves on the grid that the threshold leads to."""
    (range_,) = ranges_of("asymmetric", {"x": threshold}, {"x": look(values)}).values()
    grid = grid_of(range_)
    scale, zero = float(grid.scale), int(grid.zero_point)
    steps = np.clip(np.rint(values / scale) + zero, 0, 255) - zero
    return float(((steps * scale - values.astype(np.float64)) ** 2).sum())


def activations(kind: str) -> np.ndarray:
    noise = np.random.default_rng(0).standard_t(4, 100_000)
    shaped = {
        "both sides": noise,
        "ReLU": np.maximum(noise, 0),
        "SiLU": noise / (1 + np.exp(-noise)),
    }
    return shaped[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["both sides", "ReLU", "SiLU"])
def test_no_other_threshold_errs_much_less(kind: str) -> None:
    values = activations(kind)
    snapshot = look(values)
    found = error(values, AsymmetricMse().amax(snapshot))
    tried = np.linspace(snapshot.amax / 16, snapshot.amax, 120)
    assert found <= min(error(values, threshold) for threshold in tried) * 1.02


def test_one_sided_tensors_are_clipped_less() -> None:
    snapshot = look(activations("ReLU"))
    assert AsymmetricMse().amax(snapshot) > 1.05 * Mse().amax(snapshot)


def test_with_both_sides_it_is_about_the_symmetric_choice() -> None:
    snapshot = look(activations("both sides"))
    assert AsymmetricMse().amax(snapshot) == pytest.approx(Mse().amax(snapshot), rel=0.1)


@pytest.mark.parametrize(("bins", "start"), [(0, 1), (5000, 64), (1024, 0), (100, 128)])
def test_parameters_out_of_range_are_refused(bins: int, start: int) -> None:
    with pytest.raises(ConfigError, match="is out of range"):
        AsymmetricMse(bins=bins, start_bin=start)
