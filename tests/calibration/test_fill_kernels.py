"""The compiled loops against plain NumPy."""

import numpy as np
import pytest

from bench.calibration.kernels import extremes, fill

BINS = 65


def filled(values: np.ndarray, scale: float) -> np.ndarray:
    counts = np.zeros((2, BINS), np.int64)
    fill(values, np.float32(scale), counts)
    return counts


@pytest.mark.parametrize("size", [1, 3, 1023, 1024, 1025, 65536, 65537, 70_001])
def test_fill_counts_every_value_once(size: int) -> None:
    values = np.random.default_rng(size).uniform(-4, 4, size).astype(np.float32)
    values[0] = 4.0
    expected = np.zeros((2, BINS), np.int64)
    np.add.at(expected, ((values < 0).astype(int), np.floor(np.abs(values) * 16).astype(int)), 1)
    np.testing.assert_array_equal(filled(values, 16.0), expected)


def test_fill_adds_to_what_is_there_over_several_flushes() -> None:
    values = np.full((1 << 22) * 2 + 1025, -0.5, np.float32)
    counts = np.full((2, BINS), 7, np.int64)
    fill(values, np.float32(16), counts)
    assert counts[1, 8] == values.size + 7
    assert counts.sum() == values.size + 7 * counts.size


def test_fill_takes_both_zeros_as_positive() -> None:
    assert filled(np.array([0.0, -0.0], np.float32), 1.0)[0, 0] == 2


def test_extremes_are_those_of_numpy() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 17, 1000):
        values = generator.standard_normal(size).astype(np.float32) * 1e-40 ** generator.random()
        values = values.astype(np.float32)
        assert extremes(values) == (values.min(), values.max())


def test_extremes_of_zeros_have_no_sign() -> None:
    low, high = extremes(np.array([-0.0, -0.0], np.float32))
    assert not np.signbit([low, high]).any()


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_extremes_show_values_that_are_not_finite(bad: float, place: int) -> None:
    values = np.ones(1000, np.float32)
    values[place] = bad
    assert not np.isfinite(extremes(values)).all()
