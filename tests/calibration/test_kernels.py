"""The compiled loop against plain NumPy."""

import numpy as np
import pytest

from bench.calibration.bins import BINS as BINS_OF_GRID
from bench.calibration.bins import EDGES, FINE, first_pattern
from bench.calibration.kernels import make_scratch, tally
from bench.calibration.statistics import _GRIDS

BINS = 64
EQUAL = 0, 0, 0  # no finer bins towards zero


def tallied(values: np.ndarray, end: float, images: int = 1) -> tuple[np.ndarray, int, np.ndarray]:
    counts, scratch = np.zeros((2, BINS + 1), np.int32), make_scratch(BINS + 1)
    extremes = np.full((images, 2), (np.inf, -np.inf), np.float32)
    grid = np.float32(BINS / end), np.float32(end), *EQUAL
    done = tally(values.reshape(images, -1), 0, *grid, scratch, counts, extremes)
    assert not scratch.any()
    return counts, done, extremes


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1023, 1024, 1025, 65536, 70_001])
def test_every_value_is_counted_once(size: int) -> None:
    values = np.random.default_rng(size).uniform(-4, 4, size).astype(np.float32)
    values[0] = 4.0
    expected = np.zeros((2, BINS + 1), np.int64)
    np.add.at(expected, ((values < 0).astype(int), np.floor(np.abs(values) * 16).astype(int)), 1)
    counts, done, extremes = tallied(values, 4.0)
    np.testing.assert_array_equal(counts, expected)
    assert done == size
    assert extremes.tolist() == [[values.min(), values.max()]]


def test_images_are_counted_together_but_keep_their_extremes() -> None:
    values = np.random.default_rng(0).uniform(-4, 4, (5, 3000)).astype(np.float32)
    values *= np.linspace(0.2, 1, 5, dtype=np.float32)[:, None]
    counts, done, extremes = tallied(values, 4.0, images=5)
    np.testing.assert_array_equal(counts, tallied(values, 4.0)[0])
    assert done == values.size
    np.testing.assert_array_equal(extremes[:, 0], values.min(axis=1))
    np.testing.assert_array_equal(extremes[:, 1], values.max(axis=1))


def test_counts_add_to_what_is_there() -> None:
    values = np.full(1025, -0.5, np.float32)
    counts = np.full((2, BINS + 1), 7, np.int32)
    extremes = np.full((1, 2), (np.inf, -np.inf), np.float32)
    grid = np.float32(16), np.float32(4), *EQUAL
    tally(values[None], 0, *grid, make_scratch(BINS + 1), counts, extremes)
    assert counts[1, 8] == values.size + 7
    assert counts.sum() == values.size + 7 * counts.size


@pytest.mark.parametrize(("place", "done"), [(0, 0), (1023, 0), (1024, 1024), (5000, 4096)])
@pytest.mark.parametrize("large", [4.5, -4.5])
def test_a_value_beyond_the_range_stops_before_its_block(place: int, done: int, large: float):
    values = np.linspace(-4, 4, 6000, dtype=np.float32)
    values[place] = large
    counts, found, extremes = tallied(values, 4.0)
    assert found == counts.sum() == done
    assert large in extremes


def test_counting_goes_on_where_it_stopped() -> None:
    values = np.random.default_rng(0).uniform(-4, 4, (3, 5000)).astype(np.float32)
    whole, _, expected = tallied(values, 4.0, images=3)
    values[1, 3000] = 9.0
    counts, scratch = np.zeros((2, BINS + 1), np.int32), make_scratch(BINS + 1)
    extremes = np.full((3, 2), (np.inf, -np.inf), np.float32)
    grid = np.float32(16), np.float32(4), *EQUAL
    done = tally(values, 0, *grid, scratch, counts, extremes)
    assert done == 5000 + 2048
    assert extremes[1, 1] == 9.0
    assert np.isinf(extremes[2]).all()
    grid = np.float32(4), np.float32(16), *EQUAL  # the caller's part: a range that it fits into
    assert tally(values, done, *grid, scratch, counts, extremes) == values.size
    np.testing.assert_array_equal(extremes[[0, 2]], expected[[0, 2]])
    assert counts.sum() == whole.sum()


def test_both_zeros_are_one_value() -> None:
    counts, *_ = tallied(np.array([0.0, -0.0], np.float32), 1.0)
    assert counts[0, 0] == 2


def test_the_smallest_extremes_are_exact() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 17, 1000):
        values = (generator.standard_normal(size) * 1e-40 ** generator.random()).astype(np.float32)
        *_, extremes = tallied(values, 8.0)
        assert extremes.tolist() == [[values.min(), values.max()]]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 500, 999])
def test_values_that_are_not_finite_show(bad: float, place: int) -> None:
    values = np.ones(1000, np.float32)
    values[place] = bad
    _, done, extremes = tallied(values, 8.0)
    assert done == 0
    assert not np.isfinite(extremes).all()


@pytest.mark.parametrize("exponent", [-112, -100, -88, -3, 0, 2, 128])
def test_small_values_are_counted_in_octaves(exponent: int) -> None:
    generator = np.random.default_rng(0)
    powers = generator.uniform(-149, exponent, 20_000)
    values = np.exp2(powers).astype(np.float32) * generator.choice([-1, 1], powers.size)
    values = np.append(values, [0.0, -0.0, 1e-45, 2.0**-126, 2.0 ** (exponent - 6)])
    values = values.astype(np.float32)[np.abs(values) <= _GRIDS[exponent][1]]
    counts, extremes = np.zeros((2, BINS_OF_GRID), np.int32), np.zeros((1, 2), np.float32)
    scratch = make_scratch(BINS_OF_GRID)
    assert tally(values[None], 0, *_GRIDS[exponent], scratch, counts, extremes) == values.size
    magnitudes = np.abs(values).astype(np.float64)
    magnitudes[magnitudes < 2.0**-126] = 2.0**-127  # subnormal: all in the bin below the normal
    place = np.searchsorted(EDGES, magnitudes / 2.0**exponent * FINE, side="right") - 1
    place[magnitudes == 2.0**-127] = max(0, 255 - first_pattern(exponent)[1])
    expected = np.zeros((2, BINS_OF_GRID), np.int64)
    np.add.at(expected, ((values < 0).astype(int), place), 1)
    np.testing.assert_array_equal(counts, expected)
    assert not scratch.any()
