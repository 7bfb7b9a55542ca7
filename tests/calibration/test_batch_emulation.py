"""What batch size and order of the images change: TensorRT's entropy range, a moving average."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.calibration.asymmetric_mse import AsymmetricMse
from bench.calibration.calibrator import Calibrator
from bench.calibration.entropy import Entropy, Entropy2, doubled_range
from bench.calibration.legacy import Legacy
from bench.calibration.minmax import MinMax
from bench.calibration.moving_average import MovingAverage
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import ConfigError

BINS = 2048


def look(images: Sequence[np.ndarray]) -> Snapshot:
    statistics = TensorStatistics("x")
    for image in images:
        statistics.update(image)
    return statistics.snapshot()


def noise(peaks: Sequence[float], seed: int = 0, count: int = 3000) -> list[np.ndarray]:
    """Images of half-normal noise, each with so large a maximum."""
    generator = np.random.default_rng(seed)
    images = np.abs(generator.standard_normal((len(peaks), count)))
    images *= np.array(peaks)[:, None] / images.max(axis=1, keepdims=True)
    return list(images.astype(np.float32))


peaks = st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=1, max_size=6)
sizes = st.integers(1, 7)


# --- the range ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(peaks, sizes)
def test_the_range_is_the_first_batch_doubled_until_all_fits(
    maxima: list[float], batch_size: int
) -> None:
    expected = max(maxima[:batch_size])
    while expected < max(maxima):
        expected *= 2
    snapshot = look([np.array([-peak, peak / 3], np.float32) for peak in maxima])
    assert doubled_range(snapshot, batch_size) == expected
    assert snapshot.amax <= expected < 2 * snapshot.amax


@pytest.mark.parametrize("first", [2.0**-149, 3e-39, 1e-20, 3.4e38])
def test_any_first_batch_can_be_doubled(first: float) -> None:
    largest = np.finfo(np.float32).max
    found = doubled_range(look([np.float32([first]), np.float32([largest])]), 1)
    assert float(largest) <= found < 2 * float(largest)
    assert np.frexp(found)[0] == np.frexp(np.float64(np.float32(first)))[0]


def test_a_batch_of_zeros_sets_no_range() -> None:
    dark, dim, bright = np.zeros(3, np.float32), np.float32([0.7, 0.0]), np.float32([-1.0])
    assert doubled_range(look([dark, dim, bright]), 1) == pytest.approx(1.4)
    assert doubled_range(look([dark, dark, dim, bright]), 2) == 1.0  # the second batch holds both
    assert doubled_range(look([dark, dim, bright]), 2) == pytest.approx(1.4)
    assert Entropy2(batch_size=1).amax(look([dark, dark])) == 0.0
    assert Entropy2(batch_size=1).amax(look([])) == 0.0


# --- a histogram that ends beyond the maximum -----------------------------------------------------


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(-100, 100),
    st.sampled_from([1, 2, 128, 2048]),
    st.sampled_from([1.0, 1.5, 2.0]),
)
def test_histograms_may_end_beyond_the_maximum(
    seed: int, power: int, bins: int, longer: float
) -> None:
    generator = np.random.default_rng(seed)
    values = generator.uniform(-1, 1, 3000).astype(np.float32)
    values[:1000] = generator.integers(0, 2 * bins, 1000) / (2 * bins)  # on centres and on edges
    values[-9:] = 1.0
    end = longer * 2.0**power
    found = look([np.ldexp(values, power)]).magnitudes(bins, end)
    nearest = np.floor(np.abs(values.astype(np.float64)) * (bins / longer) + 0.5).astype(int)
    np.testing.assert_array_equal(found.counts, np.bincount(nearest, minlength=bins + 1))
    assert found.width == end / bins


@settings(deadline=None)
@given(st.integers(0, 100), st.floats(0.51, 1), st.floats(1, 2))
def test_an_end_between_fine_bins_misplaces_little(seed: int, peak: float, longer: float) -> None:
    (values,) = noise([peak], seed)
    snapshot = look([values])
    end = longer * snapshot.amax
    counts = snapshot.magnitudes(BINS, end).counts
    nearest = np.floor(np.abs(values.astype(np.float64)) * (BINS / end) + 0.5).astype(int)
    exact = np.bincount(nearest, minlength=BINS + 1)
    assert counts.sum() == exact.sum() == 3000
    assert np.abs(np.cumsum(counts) - np.cumsum(exact)).max() <= snapshot.positive.max()
    assert not counts[nearest.max() + 1 :].any()


# --- TensorRT's batches ---------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["tensorrt", "tensorrt10"])
@settings(deadline=None, max_examples=40)
@given(peaks, sizes)
def test_one_batch_of_all_images_is_no_batch_size(
    variant: str, maxima: list[float], more: int
) -> None:
    snapshot, count = look(noise(maxima)), len(maxima)
    expected = Entropy2(variant).amax(snapshot)
    assert Entropy2(variant, batch_size=count).amax(snapshot) == expected
    assert Entropy2(variant, batch_size=count + more).amax(snapshot) == expected


@settings(deadline=None, max_examples=40)
@given(peaks, sizes, st.randoms(use_true_random=False))
def test_only_the_first_batch_matters(
    maxima: list[float], batch_size: int, chance: random.Random
) -> None:
    rule, images = Entropy2(batch_size=batch_size), noise(maxima)
    first, later = images[:batch_size], images[batch_size:]
    expected = rule.amax(look(images))
    chance.shuffle(first)
    chance.shuffle(later)
    assert rule.amax(look(first + later)) == expected
    assert Entropy2().amax(look(later + first)) == Entropy2().amax(look(images))


def test_the_order_of_images_changes_the_threshold() -> None:
    """Letterboxed pictures, one less bright: if it comes first, the input is not clipped."""
    level = np.arange(256)
    counts = 400 * (1 + 0.3 * np.sin(level / 40) + 3 * (level == 255) + 2 * (level == 0))
    counts[114] += 40_000
    bright = np.repeat(level, counts.astype(int)).astype(np.float32) / 255
    dim = np.minimum(bright, np.float32(240 / 255))
    rule = Entropy2(batch_size=1)
    assert rule.amax(look([bright, dim])) == pytest.approx(916.5 / 2048)
    assert rule.amax(look([dim, bright])) > 1
    for whole in (Entropy2(), Entropy2(batch_size=2)):
        assert whole.amax(look([dim, bright])) == rule.amax(look([bright, dim]))


@pytest.mark.parametrize("variant", ["tensorrt", "tensorrt10"])
@settings(deadline=None, max_examples=40)
@given(peaks, sizes)
def test_thresholds_end_bins_of_the_doubled_range(
    variant: str, maxima: list[float], batch_size: int
) -> None:
    """They may exceed the maximum, but stay below twice that, and half a bin."""
    snapshot = look(noise(maxima))
    found = Entropy2(variant, batch_size=batch_size).amax(snapshot)
    width = doubled_range(snapshot, batch_size) / BINS
    assert found / width - 0.5 == pytest.approx(round(found / width - 0.5), abs=1e-9)
    assert 127.5 <= found / width <= BINS + 0.5
    assert found < 2 * snapshot.amax * (BINS + 0.5) / BINS


@pytest.mark.parametrize(("parts", "doublings"), [(1, 0), (1.5, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_a_smaller_first_batch_doubles_the_widths(parts: float, doublings: int) -> None:
    snapshot = look(noise([1 / parts, 1.0]))
    first = float(np.abs(snapshot.extremes[0]).max())
    assert doubled_range(snapshot, 1) / BINS == first / BINS * 2**doublings


@settings(deadline=None, max_examples=30)
@given(peaks, sizes, st.integers(-60, 60))
def test_a_power_of_two_scales_thresholds_exactly(
    maxima: list[float], batch_size: int, power: int
) -> None:
    rule, images = Entropy2(batch_size=batch_size), noise(maxima)
    scaled = rule.amax(look([np.ldexp(image, power) for image in images]))
    assert scaled == rule.amax(look(images)) * 2.0**power


@pytest.mark.parametrize("factor", [0.37, 3.0, 1 / 255])
@pytest.mark.parametrize("dim", [0.6, 0.3])
def test_any_factor_scales_thresholds_within_the_grid(factor: float, dim: float) -> None:
    rule, images = Entropy2(batch_size=1), noise([dim, 1.0], count=200_000)
    scaled = rule.amax(look([image * np.float32(factor) for image in images]))
    assert scaled / rule.amax(look(images)) / factor == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("brightness", [-1, 0, 1, 2])
@pytest.mark.parametrize("first", [0.75, 0.9999])
def test_ranges_of_tanh_are_those_of_the_cache(brightness: float, first: float) -> None:
    """Mish, x tanh(softplus(x)), in YOLOv4: the batch that reaches 1 makes the range 2 * first.

    Of the ranges beyond 1024.5/1024 that its cache has for tanh, 1032.5 and 1040.5 are the most.
    """
    x = np.random.default_rng(0).normal(brightness, 3, (2, 300_000))
    image = np.tanh(np.log1p(np.exp(x))).astype(np.float32)
    image[0] = np.minimum(image[0], np.float32(first))
    snapshot = look(image)
    assert snapshot.amax == 1
    assert doubled_range(snapshot, 1) == 2 * float(np.float32(first))
    assert Entropy2().amax(snapshot) == 2048.5 / 2048
    kept = Entropy2(batch_size=1).amax(snapshot) * 1024 / float(np.float32(first))
    assert kept % 1 == pytest.approx(0.5, abs=1e-6)
    if first == 0.9999:
        assert round(kept, 6) in (1032.5, 1040.5)


# --- who else depends on it -----------------------------------------------------------------------


WHOLE = [
    MinMax(), Percentile(), Percentile(99), Mse(), AsymmetricMse(), Legacy(), Legacy(0.99, 0.25),
    Entropy(), Entropy2(), Entropy2("tensorrt10"), Entropy2("modelopt"),
    Entropy2("onnxruntime", bins=512),
]  # fmt: skip


@pytest.mark.parametrize("rule", WHOLE, ids=lambda rule: f"{rule.name} {rule.params}")
def test_other_rules_do_not_depend_on_batches_or_order(rule: Calibrator) -> None:
    images = noise([0.3, 2.0, 0.9, 1.1])
    expected = rule.amax(look(images))
    for order in itertools.permutations(images):
        assert rule.amax(look(order)) == expected
    assert rule.amax(look([np.concatenate(images)])) == expected
    course = look(images).extremes
    assert rule.amax(replace(look(images), extremes=course[:1])) == expected


def test_a_moving_average_depends_on_both() -> None:
    images = noise([0.3, 2.0, 0.9, 1.1])
    one, two, four = (MovingAverage(sigmas=0, warmup=1, batch_size=size) for size in (1, 2, 4))
    assert one.amax(look(images)) < two.amax(look(images)) < four.amax(look(images))
    assert four.amax(look(images)) == MinMax().amax(look(images))
    assert one.amax(look(images)) < one.amax(look(images[::-1]))


@settings(deadline=None)
@given(st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=1, max_size=8))
def test_a_moving_average_of_eight_batches_is_minmax(maxima: list[float]) -> None:
    """Of n values none lies more than (n - 1) / sqrt(n) sigmas off their mean: 2.5 < 3."""
    snapshot = look([np.array([peak], np.float32) for peak in maxima])
    assert MovingAverage().amax(snapshot) == snapshot.amax


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Entropy, Entropy2])
def test_a_batch_size_that_cannot_be_is_refused(rule: type[Entropy] | type[Entropy2]) -> None:
    for variant in ("modelopt", "onnxruntime"):
        told = f"{rule.name}'s variant={variant} does not take batch_s.* variant=tensorrt or "
        with pytest.raises(ConfigError, match=told):
            rule(variant, batch_size=8)
    for size in (0, -1):
        with pytest.raises(ConfigError, match=f"batch_size={size} is out of range"):
            rule(batch_size=size)


def test_a_batch_size_is_told_only_where_it_is_given() -> None:
    assert Entropy2().params == "bins=2048,levels=127,variant=tensorrt"
    assert Entropy2(batch_size=8).params == "bins=2048,levels=127,variant=tensorrt,batch_size=8"
