"""Statistics: the same bits for any batches and any order, and exact where they claim to be."""

import io
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.calibration.statistics import FINE, MOST_BINS, Snapshot, TensorStatistics
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


def bits(snapshot: Snapshot) -> dict[str, bytes]:
    return {key: array.tobytes() for key, array in snapshot.to_arrays().items()}


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
    assert bits(continued.snapshot()) == bits(look(np.append(first, second)))


@pytest.mark.parametrize("order", [1, -1])
def test_a_range_that_grows_through_all_exponents(order: int) -> None:
    values = np.ldexp(np.float32(1), np.arange(-149, 128)[::order]).astype(np.float32)
    grown, whole = look(*values), look(values)
    assert bits(grown) == bits(whole)
    assert whole.exponent == 127
    assert whole.positive[FINE] == 1
    assert whole.count == whole.positive.sum() == values.size


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
def test_values_that_are_not_finite_are_refused_and_change_nothing(bad: float) -> None:
    statistics = TensorStatistics("backbone/conv1")
    statistics.update(np.array([1.0], np.float32))
    before = bits(statistics.snapshot())
    with pytest.raises(DataError, match=r"'backbone/conv1' has 2 NaN or infinite values of 3"):
        statistics.update(np.array([bad, 5.0, bad], np.float32))
    assert bits(statistics.snapshot()) == before


def test_statistics_of_different_tensors_do_not_mix() -> None:
    with pytest.raises(ValueError, match="'b' cannot join those of 'a'"):
        TensorStatistics("a").merge(TensorStatistics("b"))


# --- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_is_immutable_and_keeps_its_moment() -> None:
    statistics = seen(np.array([1.0, -2.0], np.float32))
    snapshot = statistics.snapshot()
    before = bits(snapshot)
    statistics.update(np.array([100.0], np.float32))
    assert bits(snapshot) == before
    for array in (snapshot.positive, snapshot.negative, snapshot.magnitudes().counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        snapshot.count = 1  # type: ignore[misc]


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
        assert bits(copy) == bits(snapshot)
        assert copy.positive.dtype == np.int64
        assert (copy.name, copy.count, copy.min, copy.max, copy.exponent) == (
            ("x", snapshot.count, snapshot.min, snapshot.max, snapshot.exponent)
        )


def test_large_counts_survive_npz() -> None:
    statistics = seen(np.zeros(1, np.float32))
    for _ in range(40):
        statistics.merge(statistics)
    loaded = Snapshot.from_arrays(statistics.snapshot().to_arrays())
    assert loaded.positive[0] == loaded.count == 2**40


# --- the histogram of |x| -------------------------------------------------------------------------


def nearest_bins(values: np.ndarray, bins: int) -> np.ndarray:
    magnitudes = np.abs(values.astype(np.float64))
    return np.bincount(np.floor(magnitudes * bins / magnitudes.max() + 0.5).astype(int))


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
    magnitudes = look(values).magnitudes(bins)
    np.testing.assert_array_equal(magnitudes.counts, nearest_bins(values, bins))
    assert magnitudes.width == 2.0**power / bins


@settings(deadline=None)
@given(tensors.filter(lambda x: x.size and np.abs(x).max() > 1e-30), st.integers(1, MOST_BINS))
def test_magnitudes_misplace_no_more_than_the_bins_an_edge_cuts(
    values: np.ndarray, bins: int
) -> None:
    snapshot = look(values)
    magnitudes = snapshot.magnitudes(bins)
    exact = nearest_bins(values, bins)
    edges = (np.arange(bins) + 0.5) * snapshot.amax / bins / (2.0**snapshot.exponent / FINE)
    cut = folded(snapshot)[edges.astype(int)]
    misplaced = np.abs(np.cumsum(magnitudes.counts) - np.cumsum(exact))
    assert (misplaced[:-1] <= cut).all()
    assert (magnitudes.counts >= 0).all()
    assert magnitudes.counts.sum() == snapshot.count
    largest = np.abs(values) == np.abs(values).max()
    assert magnitudes.counts[bins] >= largest.sum()
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


@pytest.mark.parametrize("bins", [0, -1, MOST_BINS + 1])
def test_too_many_or_too_few_bins_are_refused(bins: int) -> None:
    with pytest.raises(ConfigError, match=rf"bins={bins} is out of range"):
        look(np.ones(1, np.float32)).magnitudes(bins)
