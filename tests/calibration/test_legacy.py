"""The legacy calibrator: a quantile, or where the tail's regression line ends."""

import numpy as np
import pytest

from bench.calibration.legacy import Legacy
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import ConfigError


def look(values: np.ndarray) -> Snapshot:
    statistics = TensorStatistics("x")
    statistics.update(values)
    return statistics.snapshot()


@pytest.mark.parametrize("quantile", [0.5, 0.99, 0.9999, 1.0])
def test_with_a_cutoff_of_one_it_is_a_percentile(quantile: float) -> None:
    """As NVIDIA's BERT demo uses it."""
    snapshot = look(np.random.default_rng(0).standard_normal(50_000))
    assert Legacy(quantile).amax(snapshot) == Percentile(quantile * 100).amax(snapshot)


def tail(amplitude: float, decay: float, end: int) -> np.ndarray:
    """Values whose bins hold amplitude * exp(-decay * bin) each, up to bin ``end`` of 2048."""
    bins = np.arange(end + 1)
    counts = np.rint(amplitude * np.exp(-decay * bins)).astype(int)
    return np.append(np.repeat(bins / 2048, counts), 1.0)


def test_the_regression_does_not_end_beyond_what_was_seen() -> None:
    values = tail(1e6, 0.01, 800)[:-1]  # cut off where each bin still holds hundreds
    assert Legacy(quantile=0.5, regression_cutoff=0.25).amax(look(values)) == values.max()


def test_one_bin_beyond_the_cutoff_makes_no_line() -> None:
    values = tail(1e6, 0.01, 800)
    assert Legacy(quantile=0.5, regression_cutoff=0.5).amax(look(values)) < 0.1


def test_an_exponential_tail_is_found_to_the_bin() -> None:
    values = tail(1e4, 0.01, 500)  # one value a bin at log(1e4) / 0.01 = 921
    found = Legacy(quantile=1.0, regression_cutoff=0.1).amax(look(values)) * 2048
    without = Legacy(quantile=1.0, regression_cutoff=1.0).amax(look(values))
    assert without == 1.0
    centres = np.append(np.arange(205, 501), 2048)
    counts = np.rint(1e4 * np.exp(-0.01 * centres))
    counts[-1] = 1
    slope, start = np.polyfit(centres, np.log(counts), 1)
    assert found == pytest.approx(-start / slope, rel=1e-9)


def test_a_tail_that_does_not_fall_leaves_it_to_the_quantile() -> None:
    rising = np.repeat(np.array([100, 1500, 2048]) / 2048, [90, 4, 6])
    assert Legacy(quantile=0.9, regression_cutoff=0.5).amax(look(rising)) == 100.5 / 2048


@pytest.mark.parametrize(
    ("quantile", "cutoff"), [(0, 1), (1.1, 1), (0.5, -0.1), (0.5, 1.1), (float("nan"), 1)]
)
def test_parameters_out_of_range_are_refused(quantile: float, cutoff: float) -> None:
    with pytest.raises(ConfigError, match="is out of range"):
        Legacy(quantile, cutoff)
