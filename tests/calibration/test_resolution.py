"""Outliers far beyond the rest: what calibrators answer is what they answer to the rest."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from bench.calibration.asymmetric_mse import AsymmetricMse
from bench.calibration.bins import LEAST_RANGE
from bench.calibration.calibrator import SILENT_AMAX, Calibrator, find_ranges
from bench.calibration.entropy import Entropy, Entropy2
from bench.calibration.legacy import Legacy
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.resolution import end_of_smallest, mass_end
from bench.calibration.statistics import Snapshot, TensorStatistics

CLIPPING: dict[str, Calibrator] = {
    "percentile": Percentile(),
    "percentile=99": Percentile(99),
    "legacy": Legacy(),
    "entropy": Entropy(),
    "tensorrt": Entropy2("tensorrt"),
    "tensorrt10": Entropy2("tensorrt10"),
    "modelopt": Entropy2("modelopt"),
    "modelopt, 1024 bins": Entropy2("modelopt", bins=1024),
}
ALL = CLIPPING | {"mse": Mse(), "asymmetric_mse": AsymmetricMse()}
COUNT = 300_000


def tensor(kind: str) -> np.ndarray:
    normal = np.random.default_rng(0).standard_normal(COUNT)
    made = {
        "both sides": lambda: normal,
        "relu": lambda: np.maximum(normal, 0),
        "silu": lambda: 2 * normal / (1 + np.exp(-2 * normal)),
        "uniform": lambda: np.random.default_rng(0).uniform(-1, 1, COUNT),
        "negative": lambda: -np.abs(normal),
        "tiny": lambda: normal * 1e-25,
    }
    return made[kind]().astype(np.float32)


def look(*batches: np.ndarray) -> Snapshot:
    statistics = TensorStatistics("x")
    for batch in batches:
        statistics.update(batch)
    return statistics.snapshot()


def with_outlier(values: np.ndarray, times: float = 1e5, count: int = 1) -> np.ndarray:
    return np.append(values, np.full(count, np.float32(times * np.abs(values).max())))


# --- the answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1e3, 1e5, 1e6])
@pytest.mark.parametrize("kind", ["both sides", "relu", "silu", "uniform", "negative", "tiny"])
@pytest.mark.parametrize("name", CLIPPING)
def test_an_outlier_leaves_the_threshold_where_it_is(name: str, kind: str, times: float) -> None:
    """To a few per cent: minima of the divergence are flat, and to move the end of the range by
    0.2 % alone moves a threshold by 9 % in one of ten tensors."""
    values, calibrator = tensor(kind), CLIPPING[name]
    alone = calibrator.amax(look(values))
    assert calibrator.amax(look(with_outlier(values, times))) == pytest.approx(alone, rel=0.06)


@pytest.mark.parametrize("name", CLIPPING)
def test_a_negative_outlier_and_several_do_the_same(name: str) -> None:
    values, calibrator = tensor("both sides"), CLIPPING[name]
    one = calibrator.amax(look(with_outlier(values)))
    assert calibrator.amax(look(-with_outlier(values))) == one
    many = np.append(with_outlier(values, 1e5, 10), np.float32([2e4, -3e3, 7e5]))
    assert calibrator.amax(look(many)) == pytest.approx(one, rel=0.06)


def test_percentiles_are_those_of_the_values() -> None:
    values = with_outlier(tensor("both sides"))
    for percentile in (50, 90, 99.9, 99.99):
        exact = np.quantile(np.abs(values), percentile / 100, method="inverted_cdf")
        found = Percentile(percentile).amax(look(values))
        assert exact <= found <= exact * (1 + 1 / 256)


@pytest.mark.parametrize("name", CLIPPING)
def test_equal_values_beside_an_outlier(name: str) -> None:
    snapshot = look(np.append(np.full(COUNT, 4.1, np.float32), np.float32(4e5)))
    assert CLIPPING[name].amax(snapshot) == pytest.approx(4.1, rel=0.005)


def test_the_tail_is_seen_by_the_search() -> None:
    magnitudes = look(with_outlier(tensor("relu"), 1e5, 7)).magnitudes(2048, end=5.0)
    assert magnitudes.beyond == 7
    assert magnitudes.counts.sum() == COUNT
    assert magnitudes.width == 5 / 2048


def test_mse_keeps_what_costs_more_to_clip() -> None:
    values = tensor("both sides")
    for calibrator in (Mse(), AsymmetricMse()):
        snapshot = look(with_outlier(values, 1e3))  # (1e3)^2 > 3e5
        assert calibrator.amax(snapshot) > 0.9 * snapshot.amax


@pytest.mark.parametrize("calibrator", [Mse(), AsymmetricMse()])
def test_mse_sees_what_an_outlier_drowns(calibrator: Calibrator) -> None:
    """With 10^12 values, rounding them to zero costs more than the outlier."""
    values = tensor("both sides")
    outlier = look(np.float32([1e5]))
    statistics = TensorStatistics("x")
    statistics.restore(look(values))
    for _ in range(22):  # doubles each time: 1.3e12 values
        statistics.merge(statistics)
    alone = calibrator.amax(statistics.snapshot())
    statistics.restore(outlier)
    assert calibrator.amax(statistics.snapshot()) == pytest.approx(alone, rel=0.1)


# --- where nothing changes ------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("kind", ["both sides", "relu", "silu", "uniform", "negative", "tiny"])
def test_ordinary_ranges_end_at_the_maximum(kind: str, times: float) -> None:
    snapshot = look(with_outlier(tensor(kind), times))
    assert mass_end(snapshot) == snapshot.amax


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros(0),
        lambda: np.zeros(COUNT),
        lambda: np.full(COUNT, -3.0),
        lambda: np.append(np.zeros(COUNT), 1.0),  # one value is not an outlier of nothing
        lambda: np.append(np.zeros(COUNT), np.append(np.full(500, 1e-3), np.full(20, 1.0))),
        lambda: with_outlier(tensor("both sides")[:5000]),  # too few to call one an outlier
        lambda: np.full(COUNT, 1e-45),
        lambda: np.append(np.full(COUNT, 1e-40), 1e-34),
    ],
)
def test_what_has_no_outliers_ends_at_the_maximum(make: Callable[[], np.ndarray]) -> None:
    snapshot = look(make().astype(np.float32))
    assert mass_end(snapshot) == snapshot.amax


def test_the_quantile_of_zeros_is_the_end_of_the_first_bin() -> None:
    snapshot = look(np.append(np.zeros(COUNT, np.float32), np.float32([2048.0])))
    assert end_of_smallest(snapshot, COUNT) == 0.5
    assert end_of_smallest(snapshot, COUNT + 1) == 2048


def test_no_threshold_is_too_small_for_a_scale() -> None:
    """2e-34 over 127 is close to float32's subnormal numbers."""
    values = np.append(np.full(COUNT, 1e-36), 1e-30).astype(np.float32)
    for calibrator in ALL.values():
        assert calibrator.amax(look(values)) > LEAST_RANGE
    silent = look(values[:-1])
    assert find_ranges(Percentile(), [silent])["x"] == SILENT_AMAX


# --- order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_neither_order_nor_batches_move_a_threshold(name: str) -> None:
    values = with_outlier(tensor("silu")[:50_000], 1e5, 3)
    expected = ALL[name].amax(look(values))
    rng = np.random.default_rng(1)
    for cuts in ([1], [100, 30_000], [50_002]):
        parts = np.split(rng.permutation(values), cuts)
        assert ALL[name].amax(look(*parts)) == expected
        merged = TensorStatistics("x")
        for part in random.Random(0).sample(parts, len(parts)):
            merged.restore(look(part))
        assert ALL[name].amax(merged.snapshot()) == expected


@pytest.mark.parametrize("name", ALL)
def test_a_power_of_two_scales_a_threshold(name: str) -> None:
    values = with_outlier(tensor("both sides")[:50_000])
    expected = ALL[name].amax(look(values))
    assert ALL[name].amax(look(np.ldexp(values, -20))) == expected * 2.0**-20
