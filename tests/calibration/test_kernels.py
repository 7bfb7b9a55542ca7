"""The compiled loop against plain NumPy."""

import numpy as np
import pytest

from bench.calibration.kernels import make_scratch, tally

BINS = 64


def tallied(values: np.ndarray, end: float) -> tuple[np.ndarray, tuple[int, float, float]]:
    counts, scratch = np.zeros((2, BINS + 1), np.int64), make_scratch(BINS + 1)
    found = tally(values, np.float32(BINS / end), np.float32(end), scratch, counts)
    assert not scratch.any()
    return counts, found


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1023, 1024, 1025, 65536, 70_001])
def test_every_value_is_counted_once(size: int) -> None:
    values = np.random.default_rng(size).uniform(-4, 4, size).astype(np.float32)
    values[0] = 4.0
    expected = np.zeros((2, BINS + 1), np.int64)
    np.add.at(expected, ((values < 0).astype(int), np.floor(np.abs(values) * 16).astype(int)), 1)
    counts, (done, low, high) = tallied(values, 4.0)
    np.testing.assert_array_equal(counts, expected)
    assert (done, low, high) == (size, values.min(), values.max())


def test_counts_add_to_what_is_there() -> None:
    values = np.full(1025, -0.5, np.float32)
    counts = np.full((2, BINS + 1), 7, np.int64)
    tally(values, np.float32(16), np.float32(4), make_scratch(BINS + 1), counts)
    assert counts[1, 8] == values.size + 7
    assert counts.sum() == values.size + 7 * counts.size


@pytest.mark.parametrize(("place", "done"), [(0, 0), (1023, 0), (1024, 1024), (5000, 4096)])
@pytest.mark.parametrize("large", [4.5, -4.5])
def test_a_value_beyond_the_range_stops_before_its_block(place: int, done: int, large: float):
    values = np.linspace(-4, 4, 6000, dtype=np.float32)
    values[place] = large
    counts, found = tallied(values, 4.0)
    assert found[0] == counts.sum() == done
    assert large in found[1:]


def test_both_zeros_are_one_value_without_a_sign() -> None:
    counts, (_, low, high) = tallied(np.array([0.0, -0.0], np.float32), 1.0)
    assert counts[0, 0] == 2
    assert not np.signbit([low, high]).any()


def test_the_smallest_extremes_are_exact() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 17, 1000):
        values = (generator.standard_normal(size) * 1e-40 ** generator.random()).astype(np.float32)
        _, (_, low, high) = tallied(values, 8.0)
        assert (low, high) == (values.min(), values.max())


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_values_that_are_not_finite_show(bad: float, place: int) -> None:
    values = np.ones(1000, np.float32)
    values[place] = bad
    _, (done, low, high) = tallied(values, 8.0)
    assert done == 0
    assert not np.isfinite([low, high]).all()
