"""Each KL search against a slow copy or the original, and against what real caches hold."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import HistogramCollector
from scipy.stats import entropy as kl_divergence

from bench.calibration.divergence import divergences
from bench.calibration.entropy import Entropy, Entropy2
from bench.calibration.minmax import MinMax
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import ConfigError

VARIANTS = ["tensorrt", "tensorrt10", "modelopt", "onnxruntime"]
IMAGES = Path(__file__).parents[3] / "shared/data/coco_mini/calib/images"


def look(values: np.ndarray) -> Snapshot:
    statistics = TensorStatistics("x")
    statistics.update(values)
    return statistics.snapshot()


def slow_divergences(counts: np.ndarray, levels: int, fewest: int, inset: int) -> np.ndarray:
    """ModelOpt's ``_compute_amax_entropy`` up to the choice; a KL of nothing is infinite.

    With an inset of 1 the levels reach to the middle of the last bin kept, as TensorRT's do.
    """
    found = []
    for kept in range(fewest, counts.size + 1):
        bins = counts[:kept]
        level = np.digitize(range(kept), np.linspace(0, kept - inset, num=levels + 1)) - 1
        level[-1] = levels - 1
        mass = np.bincount(level, bins, levels)
        occupied = np.bincount(level, bins > 0, levels)
        quantized = np.where(bins > 0, (mass / np.maximum(occupied, 1))[level], 0.0)
        reference = bins.copy()
        reference[-1] += counts[kept:].sum()
        found.append(kl_divergence(reference, quantized) if bins.any() else np.inf)
    return np.array(found)


def last_minimum(divergences: np.ndarray) -> int:
    return int(np.flatnonzero(divergences <= divergences.min() + 1e-12)[-1])


def check(counts: np.ndarray, levels: int, inset: int) -> None:
    slow = slow_divergences(counts, levels, levels + inset, inset)
    fast = divergences(counts, levels, levels + inset, inset)
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
@given(histograms(), st.sampled_from([2, 7, 16, 31, 32]), st.sampled_from([0, 1]))
def test_divergences_are_those_of_the_slow_search(
    counts: np.ndarray, levels: int, inset: int
) -> None:
    check(counts, levels, inset)


def samples() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "relu": np.maximum(generator.standard_normal(300_000), 0),
        "heavy tail": np.abs(generator.standard_t(2, 300_000)),
        "image": np.append(generator.integers(0, 256, 100_000) / 255, np.full(40_000, 114 / 255)),
        "both sides": generator.laplace(-0.5, 1, 300_000),
    }


FULL_SIZE = pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k == "image" else pytest.mark.slow) for k in samples()]
)
"""The slow search takes a second at full size. An image has the grey that makes its minima near."""


@FULL_SIZE
def test_divergences_at_full_size(kind: str) -> None:
    snapshot = look(samples()[kind])
    check(snapshot.magnitudes().counts, 127, 1)
    check(snapshot.floor_magnitudes().counts, 128, 0)


def test_equal_minima_go_to_the_last() -> None:
    counts = np.zeros(2049, np.int64)
    counts[[1000, 2048]] = 3, 5  # both i = 1001 and i = 2049 lose nothing
    found = divergences(counts, 127, 128, 1)
    np.testing.assert_allclose(found[[1001 - 128, 2049 - 128]], 0, atol=1e-14)
    assert np.isinf(found[: 1001 - 128]).all()
    assert np.isinf(found[1001 - 127 : -1]).all()
    snapshot = look(np.repeat([1000 / 2048, 1.0], [3, 5]))
    assert Entropy2().amax(snapshot) == 2048.5 / 2048
    assert Entropy2("modelopt").amax(snapshot) == 1.0


@pytest.mark.parametrize("variant", ["tensorrt", "tensorrt10", "modelopt"])
def test_the_zeros_of_relu_cost_nothing(variant: str) -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(200_000), 0)
    statistics = TensorStatistics("x")
    statistics.update(values)
    threshold = Entropy2(variant).amax(statistics.snapshot())
    assert 3 < threshold < values.max()  # the tail is worth clipping
    statistics.update(np.zeros(10_000_000, np.float32))
    assert Entropy2(variant).amax(statistics.snapshot()) == threshold


# --- side by side ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "tensorrt", "tensorrt10", "modelopt"),
    [
        ("relu", 1794.5, 1769.5, 1769),
        ("heavy tail", 233.5, 250.5, 250),
        ("image", 916.5, 1968.5, 1968),  # behind the grey; where it has a level to itself
        ("both sides", 1784.5, 1808.5, 1808),
    ],
)
def test_each_search_has_its_own_threshold(
    kind: str, tensorrt: float, tensorrt10: float, modelopt: int
) -> None:
    """In bins; ONNX Runtime's clips nothing."""
    snapshot = look(samples()[kind])
    found = [Entropy2(variant).amax(snapshot) * 2048 / snapshot.amax for variant in VARIANTS]
    assert found == pytest.approx([tensorrt, tensorrt10, modelopt, 2048], abs=1e-6)


def test_both_calibrators_make_the_same_search() -> None:
    """TensorRT's two differ in what they look at, before or after layer fusion, not in how."""
    snapshot = look(samples()["relu"])
    assert Entropy().amax(snapshot) == Entropy2().amax(snapshot)
    assert (Entropy.after_fusion, Entropy2.after_fusion) == (True, False)
    assert Entropy() != Entropy2()


# --- tensorrt10 -----------------------------------------------------------------------------------


@FULL_SIZE
@pytest.mark.parametrize("levels", [127, 128])
def test_tensorrt10_is_the_slow_search_on_floor_bins(kind: str, levels: int) -> None:
    values = samples()[kind].astype(np.float32)
    values = np.append(values[np.abs(values) < 4], np.float32(4))  # a power of two: exact bins
    counts, _ = np.histogram(np.abs(values), 2048, range=(0, 4))
    counts[0] = 0
    kept = levels + last_minimum(slow_divergences(counts, levels, levels, 0))
    assert Entropy2("tensorrt10", levels=levels).amax(look(values)) == (kept + 0.5) * 4 / 2048


@pytest.mark.parametrize(("variant", "allows"), [("tensorrt", False), ("tensorrt10", True)])
@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_threshold_of_8_bit_images_ends_a_bin_of_a_pixel_value(
    variant: str, allows: bool, seed: int
) -> None:
    """A cache of 10.14.1 has 1880.5 / 2048 for its images: no nearest bin of a pixel value."""
    bins = np.arange(256) / 255 * 2048
    ends = np.floor(bins) + 1.5 if variant == "tensorrt10" else np.floor(bins + 0.5) + 0.5
    assert (1880.5 in ends) is allows
    counts = np.random.default_rng(seed).integers(1, 10_000, 256)
    counts[200:] //= 100
    counts[255] += 1
    found = image_amax(counts, variant)
    assert np.abs(np.append(ends, 2048.5) - found).min() < 1e-3


# --- modelopt -------------------------------------------------------------------------------------


@FULL_SIZE
def test_modelopt_is_the_slow_search_on_a_plain_histogram(kind: str) -> None:
    values = samples()[kind].astype(np.float32)
    values = np.append(values[np.abs(values) < 4], np.float32(4))  # a power of two: exact bins
    counts, edges = np.histogram(np.abs(values), 2048, range=(0, 4))
    counts[0] = counts[1]
    found = slow_divergences(counts, 128, 128, 0)
    assert Entropy2("modelopt").amax(look(values)) == edges[128 + last_minimum(found)]


# --- onnxruntime ----------------------------------------------------------------------------------


def onnxruntime_amax(values: np.ndarray, bins: int, levels: int) -> float:
    """What the original answers to all values at once."""
    collector = HistogramCollector("entropy", False, bins, levels, 0, "same")
    collector.collect_value({"x": values})
    low, high = collector.get_entropy_threshold(collector.histogram_dict["x"], levels)
    return max(abs(low), abs(high))


@pytest.mark.parametrize("kind", samples())
@pytest.mark.parametrize(("bins", "levels"), [(128, 128), (256, 128), (512, 64), (512, 255)])
def test_onnxruntime_is_the_original(kind: str, bins: int, levels: int) -> None:
    values = samples()[kind][:20_000].astype(np.float32)
    values = np.append(values[np.abs(values) < 4], np.float32(4))
    found = Entropy2("onnxruntime", bins, levels).amax(look(values))
    assert found == pytest.approx(onnxruntime_amax(values, bins, levels), rel=1e-6)


@pytest.mark.parametrize("kind", samples())
def test_onnxruntime_with_its_defaults_is_minmax(kind: str) -> None:
    snapshot = look(samples()[kind])
    assert Entropy2("onnxruntime").amax(snapshot) == MinMax().amax(snapshot)


def test_onnxruntime_with_more_bins_is_not() -> None:
    """The experiment of which its users should know: one outlier among normal noise."""
    values = np.random.default_rng(0).standard_normal(200_000)
    snapshot = look(np.append(values, 100.0))
    assert Entropy2("onnxruntime").amax(snapshot) == 100
    assert 3 < Entropy2("onnxruntime", bins=2048).amax(snapshot) < 20


# --- what TensorRT's own caches hold: 3c010a14 is 2048.5 / 2048, 3b66eddc is 916.5 / 2048 ---------


def pixels(brightness: np.ndarray, grey_share: float) -> np.ndarray:
    """A histogram of 8-bit pixel values 0..255 with so large a share of exactly 114."""
    counts = np.rint(1e6 * brightness / brightness.sum())
    counts[114] += np.rint(1e6 * grey_share / (1 - grey_share))
    return counts.astype(np.int64)


def image_amax(counts: np.ndarray, variant: str = "tensorrt") -> float:
    snapshot = look(np.repeat(np.arange(256, dtype=np.float32) / 255, counts))
    return Entropy2(variant).amax(snapshot) * 2048


level = np.arange(256)
photos = 1 + 0.3 * np.sin(level / 40) + 3.0 * (level == 255) + 2.0 * (level == 0)  # with highlights


def test_letterboxed_images_are_clipped_behind_the_grey() -> None:
    assert image_amax(pixels(photos, 0.28)) == pytest.approx(916.5, abs=1e-6)


def test_images_without_letterbox_are_not_clipped() -> None:
    assert image_amax(pixels(photos, 0.0)) == 2048.5


@pytest.mark.parametrize(("grey_share", "expected"), [(0.05, 2048.5), (0.28, 1831.5), (0.5, 916.5)])
def test_what_decides_where_letterboxed_images_are_clipped(
    grey_share: float, expected: float
) -> None:
    """Minima compete. Clipping nothing costs the grey that is spread over its level, the more the
    larger its share; clipping behind the grey costs what is brighter; in between lie thresholds
    where the grey has a level to itself, which cost what is brighter than they.
    """
    dim = level * (255.0 - level) + 2e4 * (level == 255)
    assert image_amax(pixels(dim, grey_share)) == expected


def brightness(paths: list[Path], letterbox: bool) -> np.ndarray:
    """Pixel counts of pictures made 640 x 640, with grey bars or stretched."""
    counts = np.zeros(256, np.int64)
    for path in paths:
        picture = cv2.imread(str(path))
        height, width = picture.shape[:2]
        ratio = 640 / max(height, width)
        size = (round(width * ratio), round(height * ratio)) if letterbox else (640, 640)
        resized = cv2.resize(picture, size)
        counts += np.bincount(resized.ravel(), minlength=256)
        counts[114] += 640 * 640 * 3 - resized.size
    return counts


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not IMAGES.is_dir(), reason=f"{IMAGES} is not there")
@pytest.mark.parametrize("start", [0, 64])
def test_photographs_give_the_values_of_the_caches(start: int) -> None:
    paths = sorted(IMAGES.iterdir())[start : start + 128]
    boxed, stretched = brightness(paths, letterbox=True), brightness(paths, letterbox=False)
    assert 0.2 < boxed[114] / boxed.sum() < 0.4
    assert image_amax(boxed) == pytest.approx(916.5, abs=1e-6)
    assert image_amax(stretched) == 2048.5


def test_nothing_clipped_is_half_a_bin_above_the_maximum() -> None:
    snapshot = look(np.full(10, -3.0, np.float32))
    assert Entropy2().amax(snapshot) == 3.0 * 2048.5 / 2048


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("bins", "levels"), [(0, 2), (5000, 128), (2048, 1), (100, 128)])
def test_parameters_out_of_range_are_refused(variant: str, bins: int, levels: int) -> None:
    with pytest.raises(ConfigError, match="is out of range"):
        Entropy2(variant, bins, levels)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ConfigError, match="entropy2's variant=nvidia is unknown"):
        Entropy2("nvidia")
