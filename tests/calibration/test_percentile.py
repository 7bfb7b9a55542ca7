"""Percentiles: which bin, which edge, and no more than was seen."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import ConfigError


def look(values: np.ndarray) -> Snapshot:
    statistics = TensorStatistics("x")
    statistics.update(values)
    return statistics.snapshot()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_the_share_asked_for_is_kept_with_a_bin_to_spare_at_most(
    seed: int, percentile: float
) -> None:
    values = np.random.default_rng(seed).standard_normal(999).clip(-4, 4)
    values[0] = 4.0  # a power of two: the histogram is exact
    snapshot = look(values)
    amax = Percentile(percentile).amax(snapshot)
    magnitudes = np.abs(values.astype(np.float32))
    assert np.mean(magnitudes <= amax) >= percentile / 100 - 1e-12
    assert np.mean(magnitudes < amax - 4.0 / 2048) < percentile / 100


def test_the_threshold_is_the_upper_edge_of_the_bin() -> None:
    values = np.repeat(np.array([100, 200, 2048]) / 2048, [50, 49, 1])
    assert Percentile(50).amax(look(values)) == 100.5 / 2048
    assert Percentile(50.01).amax(look(values)) == 200.5 / 2048
    assert Percentile(99).amax(look(values)) == 200.5 / 2048
    assert Percentile(99.5).amax(look(values)) == 1.0


@pytest.mark.parametrize("count", [10_000, 70_000, 1_000_000])
def test_counting_is_exact(count: int) -> None:
    clipped = count // 10_000
    values = np.repeat([0.5, 1.0], [count - clipped, clipped])
    assert Percentile(99.99).amax(look(values)) == 1024.5 / 2048
    values[0] = 1.0  # one value too many
    assert Percentile(99.99).amax(look(values)) == 1.0


def test_all_of_it_is_the_maximum() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert Percentile(100).amax(look(values)) == np.abs(values).max()


@pytest.mark.parametrize("percentile", [0, -1, 100.001, math.nan, math.inf])
def test_percentiles_out_of_range_are_refused(percentile: float) -> None:
    with pytest.raises(ConfigError, match=r"percentile=.* is out of range"):
        Percentile(percentile)
