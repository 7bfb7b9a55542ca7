"""Statistics: the same bits for any batches and any order, and exact where they claim to be."""

import io
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.calibration.bins import BINS, EDGES, FINE, equal_bins, from_equal_bins
from bench.calibration.histogram import MOST_BINS
from bench.calibration.statistics import Snapshot, TensorStatistics, joined
from bench.errors import ConfigError, DataError

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
tensors = hnp.arrays(np.float32, st.integers(0, 60), elements=finite | st.sampled_from([0.0, -1.0]))


def seen(*batches: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics("x")
    for batch in batches:
        statistics.update(batch)
    return statistics


def look(*batches: np.ndarray) -> Snapshot:
    return seen(*batches).snapshot()


def all_bits(snapshot: Snapshot) -> dict[str, bytes]:
    return {key: array.tobytes() for key, array in snapshot.to_arrays().items()}


def bits(snapshot: Snapshot) -> dict[str, bytes]:
    """All but the course of the extremes, which alone depends on what one update was."""
    return {key: value for key, value in all_bits(snapshot).items() if key != "extremes"}


def folded(snapshot: Snapshot) -> np.ndarray:
    return snapshot.positive + snapshot.negative


# --- the same bits, however the values come -------------------------------------------------------


@settings(deadline=None)
@given(tensors, st.randoms(use_true_random=False))
def test_any_batches_and_any_order_of_merging_give_the_same_bits(
    values: np.ndarray, chance: random.Random
) -> None:
    whole = bits(look(values))
    shuffled = values[chance.sample(range(values.size), values.size)]
    cuts = sorted(chance.choices(range(values.size + 1), k=5))
    assert bits(look(*np.split(shuffled, cuts))) == whole

    parts = [seen(part) for part in np.split(shuffled, cuts)]
    while len(parts) > 1:
        into, other = chance.sample(parts, 2)
        before = bits(other.snapshot())
        into.merge(other)
        assert bits(other.snapshot()) == before
        parts.remove(other)
    assert bits(parts[0].snapshot()) == whole


@settings(deadline=None)
@given(tensors, tensors)
def test_statistics_continue_from_a_stored_snapshot(first: np.ndarray, second: np.ndarray) -> None:
    continued = TensorStatistics("x")
    continued.restore(Snapshot.from_arrays(look(first).to_arrays()))
    continued.update(second)
    assert all_bits(continued.snapshot()) == all_bits(look(first, second))
    assert bits(continued.snapshot()) == bits(look(np.append(first, second)))


@pytest.mark.parametrize("order", [1, -1])
def test_a_range_that_grows_through_all_exponents(order: int) -> None:
    values = np.ldexp(np.float32(1), np.arange(-149, 128)[::order]).astype(np.float32)
    grown, whole = look(*values), look(values)
    assert bits(grown) == bits(whole)
    assert whole.exponent == 127
    assert whole.positive[FINE] == 1
    assert whole.count == whole.positive.sum() == values.size


@pytest.mark.parametrize("power", [0, -90, 100])
def test_counts_below_an_outlier_are_exact_in_any_order(power: int) -> None:
    rng = np.random.default_rng(power + 90)
    values = (rng.standard_normal(4000) * 10.0 ** rng.uniform(-9, 2, 4000)).astype(np.float32)
    values = np.ldexp(np.append(values, np.float32(-1e6)), power)
    snapshot = look(values)
    where = np.abs(values.astype(np.float64)) / snapshot.unit
    place = np.searchsorted(EDGES, where, side="right") - 1
    for side, counts in zip((values >= 0, values < 0), snapshot.counts, strict=True):
        np.testing.assert_array_equal(counts, np.bincount(place[side], minlength=BINS))
    for _ in range(3):
        assert bits(look(*np.split(rng.permutation(values), [1, 7, 900, 901]))) == bits(snapshot)
    growing = values[np.argsort(np.abs(values))]
    assert bits(look(*growing)) == bits(look(*growing[::-1])) == bits(snapshot)


@settings(deadline=None)
@given(tensors)
def test_counts_are_a_plain_histogram(values: np.ndarray) -> None:
    snapshot = look(values)
    index = np.floor(np.abs(values.astype(np.float64)) * (FINE / 2.0**snapshot.exponent))
    for side, counts in ((values >= 0, snapshot.positive), (values < 0, snapshot.negative)):
        expected = np.bincount(index[side].astype(int), minlength=FINE + 1)
        np.testing.assert_array_equal(counts, expected)
    assert snapshot.count == values.size
    if values.size:
        assert (snapshot.min, snapshot.max) == (values.min(), values.max())


@pytest.mark.parametrize("power", [-100, -3, 1, 120])
def test_powers_of_two_lose_nothing(power: int) -> None:
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    plain, scaled = look(values), look(np.ldexp(values, power))
    assert scaled.exponent == plain.exponent + power
    assert scaled.amax == plain.amax * 2.0**power
    np.testing.assert_array_equal(scaled.positive, plain.positive)
    np.testing.assert_array_equal(scaled.negative, plain.negative)
    np.testing.assert_array_equal(scaled.magnitudes().counts, plain.magnitudes().counts)


# --- the extremes of each image, in their order ---------------------------------------------------


@settings(deadline=None)
@given(st.lists(tensors, max_size=8), st.integers(0, 8))
def test_extremes_are_those_of_each_update_that_saw_something(
    images: list[np.ndarray], cut: int
) -> None:
    expected = [(image.min(), image.max()) for image in images if image.size]
    snapshot = look(*images)
    assert snapshot.extremes.dtype == np.float32
    np.testing.assert_array_equal(snapshot.extremes, np.reshape(expected, (-1, 2)))
    merged = seen(*images[:cut])
    merged.merge(seen(*images[cut:]))
    assert all_bits(merged.snapshot()) == all_bits(snapshot)


def test_extremes_follow_the_order_of_merging() -> None:
    late = seen(np.array([3.0, -1.0], np.float32))
    late.merge(seen(np.array([2.0], np.float32), np.array([5.0], np.float32)))
    assert late.snapshot().extremes.tolist() == [[-1, 3], [2, 2], [5, 5]]


# --- what comes in --------------------------------------------------------------------------------


def test_shape_layout_and_type_do_not_matter() -> None:
    values = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    flat = bits(look(values.ravel()))
    assert bits(look(np.asfortranarray(values))) == flat
    assert bits(look(values[:, :, ::2], values[:, :, 1::2])) == flat
    assert bits(look(values.astype(np.float64))) == flat
    assert bits(look(*(np.array(value) for value in values.flat))) == flat


def test_nothing_seen_and_nothing_but_zeros() -> None:
    nothing, zeros = look(np.empty((0, 3), np.float32)), look(np.array([0.0, -0.0], np.float32))
    assert (nothing.count, nothing.min, nothing.max, nothing.amax) == (0, 0.0, 0.0, 0.0)
    assert (zeros.count, zeros.min, zeros.max, zeros.amax) == (2, 0.0, 0.0, 0.0)
    assert nothing.magnitudes().counts.sum() == 0
    assert zeros.magnitudes().counts[0] == 2
    assert zeros.magnitudes().counts.sum() == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("before", [0, 1, 1023, 1024, 5000])
def test_values_that_are_not_finite_are_refused(bad: float, before: int) -> None:
    statistics = TensorStatistics("backbone/conv1")
    statistics.update(np.array([1.0], np.float32))
    values = np.concatenate((np.linspace(-3, 9, before), [bad, 5.0, bad])).astype(np.float32)
    told = rf"'backbone/conv1' has 2 NaN or infinite values of {values.size}"
    with pytest.raises(DataError, match=told):
        statistics.update(values)


def test_statistics_of_different_tensors_do_not_mix() -> None:
    with pytest.raises(ValueError, match="'b' cannot join those of 'a'"):
        TensorStatistics("a").merge(TensorStatistics("b"))


# --- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_is_immutable_and_keeps_its_moment() -> None:
    statistics = seen(np.array([1.0, -2.0], np.float32))
    snapshot = statistics.snapshot()
    before = all_bits(snapshot)
    statistics.update(np.array([100.0], np.float32))
    assert all_bits(snapshot) == before
    arrays = (
        snapshot.counts[0], snapshot.counts[1], snapshot.extremes, snapshot.magnitudes().counts
    )  # fmt: skip
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        snapshot.count = 1


def test_equal_bins_can_stand_for_all() -> None:
    equal = np.random.default_rng(0).integers(0, 9, FINE + 1)
    np.testing.assert_array_equal(equal_bins(from_equal_bins(equal)), equal)


@settings(deadline=None)
@given(tensors)
def test_a_snapshot_survives_npz_and_pickle(values: np.ndarray) -> None:
    snapshot = look(values)
    file = io.BytesIO()
    np.savez_compressed(file, **snapshot.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        loaded = Snapshot.from_arrays(arrays)
    for copy in (loaded, pickle.loads(pickle.dumps(snapshot))):
        assert all_bits(copy) == all_bits(snapshot)
        assert copy.counts.dtype == np.int64
        assert (copy.name, copy.count, copy.min, copy.max, copy.exponent) == (
            ("x", snapshot.count, snapshot.min, snapshot.max, snapshot.exponent)
        )


def test_large_counts_survive_npz() -> None:
    one = look(np.zeros(1, np.float32))
    many = replace(one, count=2**40, counts=one.counts * 2**40)
    statistics = seen()
    statistics.restore(many)
    loaded = Snapshot.from_arrays(statistics.snapshot().to_arrays())
    assert loaded.positive[0] == loaded.count == 2**40


# --- the histogram of |x| -------------------------------------------------------------------------


def nearest_bins(values: np.ndarray, bins: int) -> np.ndarray:
    magnitudes = np.abs(values.astype(np.float64))
    return np.bincount(np.floor(magnitudes * bins / magnitudes.max() + 0.5).astype(int))


def floor_bins(values: np.ndarray, bins: int) -> np.ndarray:
    magnitudes = np.abs(values.astype(np.float64))
    return np.histogram(magnitudes, bins, range=(0, magnitudes.max()))[0]


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(-100, 100), st.sampled_from([1, 2, 128, 2048, MOST_BINS])
)
def test_magnitudes_are_exact_when_the_maximum_is_a_power_of_two(
    seed: int, power: int, bins: int
) -> None:
    generator = np.random.default_rng(seed)
    values = generator.uniform(-1, 1, 3000).astype(np.float32)
    values[:1000] = generator.integers(0, 2 * bins, 1000) / (2 * bins)  # on centres and on edges
    values[-1] = -1.0
    values = np.ldexp(values, power)
    snapshot = look(values)
    for found, exact in (
        (snapshot.magnitudes(bins), nearest_bins(values, bins)),
        (snapshot.floor_magnitudes(bins), floor_bins(values, bins)),
    ):
        np.testing.assert_array_equal(found.counts, exact)
        assert found.width == 2.0**power / bins


@settings(deadline=None)
@given(tensors.filter(lambda x: x.size and np.abs(x).max() > 1e-30), st.integers(1, MOST_BINS))
def test_magnitudes_misplace_no_more_than_the_bins_an_edge_cuts(
    values: np.ndarray, bins: int
) -> None:
    snapshot = look(values)
    for magnitudes, exact in (
        (snapshot.magnitudes(bins), nearest_bins(values, bins)),
        (snapshot.floor_magnitudes(bins), floor_bins(values, bins)),
    ):
        upper = [magnitudes.upper_edge(index) for index in range(exact.size - 1)]
        cut = folded(snapshot)[(np.array(upper) / (2.0**snapshot.exponent / FINE)).astype(int)]
        misplaced = np.abs(np.cumsum(magnitudes.counts) - np.cumsum(exact))
        assert (misplaced[:-1] <= cut).all()
        assert (magnitudes.counts >= 0).all()
        assert magnitudes.counts.sum() == snapshot.count
        largest = np.abs(values) == np.abs(values).max()
        assert magnitudes.counts[-1] >= largest.sum()
        assert magnitudes.counts[0] >= (values == 0).sum()


def test_magnitudes_of_a_smooth_tensor_stay_smooth() -> None:
    values = np.linspace(-0.7, 0.7, 2_000_001, dtype=np.float32)
    counts = look(values).magnitudes().counts[1:-1]
    assert abs(counts / counts.mean() - 1).max() < 0.01


def test_the_edges_of_magnitudes() -> None:
    magnitudes = look(np.array([3.0], np.float32)).magnitudes(6)
    assert magnitudes.width == 0.5
    assert magnitudes.upper_edge(0) == 0.25
    assert magnitudes.upper_edge(6) == 3.25
    assert magnitudes.counts.tolist() == [0, 0, 0, 0, 0, 0, 1]
    floor = look(np.array([3.0], np.float32)).floor_magnitudes(6)
    assert floor.width == 0.5
    assert floor.upper_edge(0) == 0.5
    assert floor.upper_edge(5) == 3.0
    assert floor.counts.tolist() == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("bins", [0, -1, MOST_BINS + 1])
def test_too_many_or_too_few_bins_are_refused(bins: int) -> None:
    with pytest.raises(ConfigError, match=rf"bins={bins} is out of range"):
        look(np.ones(1, np.float32)).magnitudes(bins)
    with pytest.raises(ConfigError, match=rf"bins={bins} is out of range"):
        look(np.ones(1, np.float32)).signed_counts(bins)


# --- the histogram of x ---------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-100, 100), st.sampled_from([2, 128, 129, 2048]))
def test_signed_counts_are_a_histogram_of_the_values(seed: int, power: int, bins: int) -> None:
    values = np.random.default_rng(seed).uniform(-0.9, 1, 3000).astype(np.float32)
    values[:4] = -1.0, 1.0, 0.0, 1.0
    values[np.isin(values, np.arange(-bins + 1, 0) / bins)] = 0.0  # see the test below
    tolerance = folded(look(values)).max() if bins % 2 else 0  # odd: edges cut fine bins
    counts = look(np.ldexp(values, power)).signed_counts(bins)
    expected = np.histogram(values.astype(np.float64), bins, range=(-1, 1))[0]
    assert np.abs(np.cumsum(counts) - np.cumsum(expected)).max() <= tolerance
    assert counts.sum() == values.size


def test_an_edge_belongs_to_the_bin_beyond_it() -> None:
    values = np.array([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0], np.float32)
    assert look(values).signed_counts(4).tolist() == [2, 1, 2, 2]


# --- order and parts ------------------------------------------------------------------------------


def test_images_may_come_out_of_their_order() -> None:
    rng = np.random.default_rng(3)
    images = [rng.normal(0, 10.0 ** (i % 3), 500).astype(np.float32) for i in range(7)]
    statistics = TensorStatistics("x")
    for index in (3, 0, 6, 2, 5, 1, 4):
        statistics.update(images[index], index)
    assert all_bits(statistics.snapshot()) == all_bits(look(*images))


def test_threads_may_share_statistics() -> None:
    rng = np.random.default_rng(4)
    images = [rng.normal(0, 1 + i, 20_000).astype(np.float32) for i in range(40)]
    statistics = TensorStatistics("x")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(statistics.update, images, range(40)))
    assert all_bits(statistics.snapshot()) == all_bits(look(*images))


@settings(deadline=None)
@given(st.lists(tensors, min_size=1, max_size=4))
def test_joined_parts_are_the_whole(parts: list[np.ndarray]) -> None:
    whole = look(np.concatenate([part.reshape(-1) for part in parts]))
    assert bits(joined("x", [look(part) for part in parts])) == bits(whole)


def test_joined_parts_keep_the_images_apart() -> None:
    one, two = TensorStatistics("one"), TensorStatistics("two")
    for image in range(3):
        one.update(np.array([image, -image], np.float32))
        two.update(np.array([3.0 - 2 * image], np.float32))
    both = joined("both", [one.snapshot(), two.snapshot(), two.snapshot()])
    assert both.name == "both"
    assert both.count == 3 * 2 + 2 * 3
    assert both.extremes.tolist() == [[0, 3], [-1, 1], [-2, 2]]
