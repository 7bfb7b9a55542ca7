"""The KL search against a slow copy of NVIDIA ModelOpt's, and against what real caches hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as kl_divergence

from bench.calibration.entropy import Entropy2, _divergences
from bench.calibration.statistics import TensorStatistics
from bench.errors import ConfigError


def slow_divergences(counts: np.ndarray, levels: int) -> np.ndarray:
    """ModelOpt's ``_compute_amax_entropy`` up to the choice; a KL of nothing is infinite."""
    found = []
    for kept in range(levels, counts.size + 1):
        bins = counts[:kept]
        level = np.digitize(range(kept), np.linspace(0, kept, num=levels + 1)) - 1
        mass = np.bincount(level, bins, levels)
        occupied = np.bincount(level, bins > 0, levels)
        quantized = np.where(bins > 0, (mass / np.maximum(occupied, 1))[level], 0.0)
        reference = bins.copy()
        reference[-1] += counts[kept:].sum()
        found.append(kl_divergence(reference, quantized) if bins.any() else np.inf)
    return np.array(found)


def last_minimum(divergences: np.ndarray) -> int:
    return int(np.flatnonzero(divergences <= divergences.min() + 1e-12)[-1])


def amax_of(counts: np.ndarray, rule: Entropy2) -> float:
    """The rule's threshold in bins for a tensor whose nearest-bin histogram is ``counts``."""
    statistics = TensorStatistics("x")
    bins = counts.size - 1
    statistics.update(np.repeat(np.arange(bins + 1) / bins, counts))
    return rule.amax(statistics.snapshot()) * bins


def check(counts: np.ndarray, levels: int) -> None:
    slow = slow_divergences(counts, levels)
    fast = _divergences(counts, levels)
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-9)
    assert last_minimum(fast) == last_minimum(slow)


@st.composite
def histograms(draw: st.DrawFn) -> np.ndarray:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(33, 400))
    height = 10.0 ** draw(st.integers(0, 10))
    decay = draw(st.sampled_from([0.0, 1.0, 10.0]))
    density = draw(st.sampled_from([0.01, 0.1, 0.6, 1.0]))
    counts = height * generator.random(size) * np.exp(-decay * np.arange(size) / size)
    if draw(st.booleans()):
        counts[generator.integers(size)] *= size
    counts = np.ceil(counts * (generator.random(size) < density)).astype(np.int64)
    counts[draw(st.sampled_from([-1, size // 2]))] += 1  # the last bin may also be empty
    return counts


@settings(deadline=None, max_examples=60)
@given(histograms(), st.sampled_from([2, 7, 16, 31, 32]))
def test_divergences_are_those_of_the_slow_search(counts: np.ndarray, levels: int) -> None:
    check(counts, levels)


@pytest.mark.parametrize(("kind", "levels"), [("relu", 128), ("heavy tail", 127), ("image", 128)])
def test_divergences_at_full_size(kind: str, levels: int) -> None:
    generator = np.random.default_rng(0)
    values = {
        "relu": np.maximum(generator.standard_normal(300_000), 0),
        "heavy tail": np.abs(generator.standard_t(2, 300_000)),
        "image": np.append(generator.integers(0, 256, 100_000) / 255, np.full(40_000, 114 / 255)),
    }[kind]
    statistics = TensorStatistics("x")
    statistics.update(values)
    check(statistics.snapshot().magnitudes().counts, levels)


def test_equal_minima_go_to_the_last() -> None:
    counts = np.zeros(2049, np.int64)
    counts[[1000, 2048]] = 3, 5  # both i = 1001 and i = 2049 lose nothing
    found = _divergences(counts, 128)
    np.testing.assert_allclose(found[[1001 - 128, 2049 - 128]], 0, atol=1e-14)
    assert np.isinf(found[: 1001 - 128]).all()
    assert np.isinf(found[1001 - 127 : -1]).all()
    assert amax_of(counts, Entropy2()) == 2048.5


def test_the_zeros_of_relu_cost_nothing() -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(200_000), 0)
    statistics = TensorStatistics("x")
    statistics.update(values)
    threshold = Entropy2().amax(statistics.snapshot())
    assert 3 < threshold < values.max()  # the tail is worth clipping
    statistics.update(np.zeros(10_000_000, np.float32))
    assert Entropy2().amax(statistics.snapshot()) == threshold


# --- what TensorRT's own caches hold: 3c010a14 is 2048.5 / 2048, 3b66eddc is 916.5 / 2048 ---------


def pixels(brightness: np.ndarray, grey_share: float) -> np.ndarray:
    """A histogram of 8-bit pixel values 0..255 with so large a share of exactly 114."""
    counts = np.rint(1e6 * brightness / brightness.sum())
    counts[114] += np.rint(1e6 * grey_share / (1 - grey_share))
    return counts.astype(np.int64)


def image_amax(counts: np.ndarray) -> float:
    statistics = TensorStatistics("images")
    statistics.update(np.repeat(np.arange(256, dtype=np.float32) / 255, counts))
    return Entropy2().amax(statistics.snapshot()) * 2048


level = np.arange(256)
photos = 1 + 0.3 * np.sin(level / 40) + 3.0 * (level == 255) + 2.0 * (level == 0)  # with highlights


def test_letterboxed_images_are_clipped_behind_the_grey() -> None:
    assert image_amax(pixels(photos, 0.28)) == pytest.approx(916.5, abs=1e-6)


def test_images_without_letterbox_are_not_clipped() -> None:
    assert image_amax(pixels(photos, 0.0)) == 2048.5


@pytest.mark.parametrize(("grey_share", "expected"), [(0.05, 2048.5), (0.28, 1847.5), (0.5, 916.5)])
def test_what_decides_where_letterboxed_images_are_clipped(
    grey_share: float, expected: float
) -> None:
    """Three minima compete. Clipping nothing costs the grey that is spread over its level, the more
    the larger its share; clipping behind the grey costs what is brighter; clipping at 1847.5, where
    the grey has a level to itself, costs what is brighter than 230: 10 % of ``photos``, 3 % here.
    """
    dim = level * (255.0 - level) + 2e4 * (level == 255)
    assert image_amax(pixels(dim, grey_share)) == expected


def test_nothing_clipped_is_half_a_bin_above_the_maximum() -> None:
    statistics = TensorStatistics("x")
    statistics.update(np.full(10, -3.0, np.float32))
    assert Entropy2().amax(statistics.snapshot()) == 3.0 * 2048.5 / 2048


@pytest.mark.parametrize(("bins", "levels"), [(0, 2), (5000, 128), (2048, 1), (100, 128)])
def test_parameters_out_of_range_are_refused(bins: int, levels: int) -> None:
    with pytest.raises(ConfigError, match="is out of range"):
        Entropy2(bins=bins, levels=levels)
