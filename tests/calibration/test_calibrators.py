"""What holds for every calibrator, and how their thresholds become dynamic ranges."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.calibration.calibrator import SILENT_AMAX, Calibrator, DynamicRanges, find_ranges
from bench.calibration.entropy import Entropy2
from bench.calibration.minmax import MinMax
from bench.calibration.mse import Mse
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import DataError

CALIBRATORS: list[Calibrator] = [MinMax(), Entropy2(), Percentile(), Percentile(90), Mse()]

each = pytest.mark.parametrize("rule", CALIBRATORS, ids=lambda rule: f"{rule.name} {rule.params}")
finite = st.floats(-(2.0**100), 2.0**100, width=32)
tensors = hnp.arrays(np.float32, st.integers(1, 60), elements=finite | st.sampled_from([0.0, -1.0]))


def look(values: np.ndarray, name: str = "x") -> Snapshot:
    statistics = TensorStatistics(name)
    statistics.update(values)
    return statistics.snapshot()


def highest(rule: Calibrator, amax: float) -> float:
    """The largest threshold allowed: the entropy search ends half a bin above the maximum."""
    return amax * 2048.5 / 2048 if isinstance(rule, Entropy2) else amax


@each
@settings(deadline=None, max_examples=40)
@given(tensors.filter(lambda x: np.abs(x).max() > 1e-30))
def test_thresholds_are_positive_and_not_above_the_maximum(
    rule: Calibrator, values: np.ndarray
) -> None:
    snapshot = look(values)
    amax = rule.amax(snapshot)
    assert type(amax) is float
    assert 0 < amax <= highest(rule, snapshot.amax)


@each
@pytest.mark.parametrize("value", [1.0, -0.3, 1e-30, 3.4e38, -7e-34])
@pytest.mark.parametrize("count", [1, 1000])
def test_a_constant_is_not_clipped(rule: Calibrator, value: float, count: int) -> None:
    snapshot = look(np.full(count, value, np.float32))
    assert rule.amax(snapshot) == highest(rule, abs(float(np.float32(value))))


@each
@pytest.mark.parametrize("power", [-90, -1, 7, 100])
def test_a_power_of_two_scales_thresholds_exactly(rule: Calibrator, power: int) -> None:
    values = np.random.default_rng(1).standard_normal(20_000).astype(np.float32)
    scaled = rule.amax(look(np.ldexp(values, power)))
    assert scaled == rule.amax(look(values)) * 2.0**power


@each
@pytest.mark.parametrize("factor", [0.37, 3.0, 1 / 255])
def test_any_factor_scales_thresholds_within_the_grid(rule: Calibrator, factor: float) -> None:
    values = np.random.default_rng(1).standard_normal(200_000).astype(np.float32)
    ratio = rule.amax(look(values * np.float32(factor))) / rule.amax(look(values)) / factor
    assert ratio == pytest.approx(1, abs=0.005)  # the maximum is 4.7: a bin is 0.0005 of it


def test_rules_in_any_order_share_one_snapshot() -> None:
    snapshot = look(np.maximum(np.random.default_rng(0).standard_normal(20_000), 0))
    alone = {rule: rule.amax(snapshot) for rule in CALIBRATORS}
    for order in itertools.islice(itertools.permutations(CALIBRATORS), 0, None, 11):
        assert {rule: rule.amax(snapshot) for rule in order} == alone


def test_names_and_parameters_tell_calibrators_apart() -> None:
    assert [(rule.name, rule.params) for rule in CALIBRATORS] == [
        ("minmax", ""),
        ("entropy2", "bins=2048,levels=128"),
        ("percentile", "percentile=99.99"),
        ("percentile", "percentile=90"),
        ("mse", "bins=2048,start_bin=128"),
    ]


# --- ranges ---------------------------------------------------------------------------------------


@each
def test_ranges_of_a_model(rule: Calibrator) -> None:
    busy = look(np.array([0.5, -2.0], np.float32), "busy")
    zeros = look(np.zeros(4, np.float32), "zeros")
    faint = look(np.array([1e-44, 1e-34], np.float32), "faint")
    empty = look(np.empty(0, np.float32), "empty")
    ranges = find_ranges(rule, [busy, zeros, faint, empty])
    assert dict(ranges) == {
        "busy": rule.amax(busy),
        "zeros": SILENT_AMAX,
        "faint": SILENT_AMAX,
        "empty": SILENT_AMAX,
    }
    assert all(np.float32(amax / 127) >= np.finfo(np.float32).tiny for amax in ranges.values())
    for snapshot in (zeros, empty):
        assert rule.amax(snapshot) == 0.0
    assert 0 < rule.amax(faint) <= highest(rule, faint.amax)


def test_ranges_do_not_change_with_what_they_were_made_of() -> None:
    source = {"a": 1.0}
    ranges = DynamicRanges(source)
    source["a"] = 2.0
    assert ranges["a"] == 1.0
    assert ranges == {"a": 1.0}
    assert "b" not in ranges
    with pytest.raises(AttributeError):
        ranges.amax = source  # type: ignore[misc]


@pytest.mark.parametrize("amax", [0.0, -1.0, math.nan, math.inf])
def test_a_range_that_cannot_be_quantized_is_refused(amax: float) -> None:
    with pytest.raises(DataError, match="dynamic range of tensor 'conv1'"):
        DynamicRanges({"input": 1.0, "conv1": amax})
