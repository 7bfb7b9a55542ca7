"""What holds for every calibrator, and how their thresholds become dynamic ranges."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.calibration.asymmetric_mse import AsymmetricMse
from bench.calibration.calibrator import (
    SILENT_AMAX,
    Calibrator,
    DynamicRanges,
    after_fusion,
    find_ranges,
)
from bench.calibration.entropy import Entropy, Entropy2
from bench.calibration.legacy import Legacy
from bench.calibration.minmax import MinMax
from bench.calibration.moving_average import MovingAverage
from bench.calibration.mse import Mse
from bench.calibration.per_tensor import PerTensor
from bench.calibration.percentile import Percentile
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import DataError

CALIBRATORS: list[Calibrator] = [
    MinMax(),
    Entropy(),
    Entropy2(),
    Entropy2(batch_size=8),
    Entropy2("tensorrt10"),
    Entropy2("tensorrt10", batch_size=8),
    Entropy2("modelopt"),
    Entropy2("onnxruntime"),
    Entropy2("onnxruntime", bins=1000, levels=900),
    Legacy(),
    Legacy(quantile=0.5, regression_cutoff=0.25),
    MovingAverage(),
    MovingAverage(beta=0.5, sigmas=1, warmup=1, batch_size=2),
    Percentile(),
    Percentile(90),
    Mse(),
    AsymmetricMse(),
    PerTensor({"minmax": MinMax(), "tail": Percentile(90), "modelopt": Entropy2("modelopt")}),
]

each = pytest.mark.parametrize("rule", CALIBRATORS, ids=lambda rule: f"{rule.name} {rule.params}")
finite = st.floats(-(2.0**100), 2.0**100, width=32)
tensors = hnp.arrays(np.float32, st.integers(1, 60), elements=finite | st.sampled_from([0.0, -1.0]))


def look(values: np.ndarray, name: str = "x") -> Snapshot:
    statistics = TensorStatistics(name)
    statistics.update(values)
    return statistics.snapshot()


def highest(rule: Calibrator, amax: float) -> float:
    """The largest threshold allowed: TensorRT's entropy ends half a bin above the maximum.

    That holds of its batches too where one holds all images; for more see test_batch_emulation.py.
    """
    return amax * 2048.5 / 2048 if "tensorrt" in rule.params else amax


def follows_images(rule: Calibrator) -> bool:
    """Whether the order of images may change the threshold."""
    return "batch_size" in rule.params


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


def images(count: int = 30) -> list[np.ndarray]:
    """Images of normal noise, ever brighter."""
    generator = np.random.default_rng(5)
    noise = generator.standard_normal((count, 500)) - 0.2
    return list((noise * np.linspace(1, 2, count)[:, None]).astype(np.float32))


def look_at(*several: np.ndarray) -> Snapshot:
    statistics = TensorStatistics("x")
    for image in several:
        statistics.update(image)
    return statistics.snapshot()


@each
def test_the_order_of_values_does_not_matter_and_of_images_only_to_who_follows_them(
    rule: Calibrator,
) -> None:
    several = images()
    expected = rule.amax(look_at(*several))
    assert 0 < expected <= highest(rule, look_at(*several).amax) * (1 + follows_images(rule))
    assert rule.amax(look_at(*(image[::-1] for image in several))) == expected
    backwards = rule.amax(look_at(*several[::-1]))
    assert (backwards == expected) is not follows_images(rule)


@each
@pytest.mark.parametrize("cut", [0, 1, 13])
def test_merged_parts_give_what_one_pass_gives(rule: Calibrator, cut: int) -> None:
    several = images()
    parts = TensorStatistics("x"), TensorStatistics("x")
    for index, image in enumerate(several):
        parts[index >= cut].update(image)
    parts[0].merge(parts[1])
    assert rule.amax(parts[0].snapshot()) == rule.amax(look_at(*several))


def test_rules_in_any_order_share_one_snapshot() -> None:
    snapshot = look(np.maximum(np.random.default_rng(0).standard_normal(20_000), 0))
    alone = {rule: rule.amax(snapshot) for rule in CALIBRATORS}
    for first, second in itertools.permutations(CALIBRATORS, 2):
        assert (first.amax(snapshot), second.amax(snapshot)) == (alone[first], alone[second])


def test_names_and_parameters_tell_calibrators_apart() -> None:
    assert [(rule.name, rule.params) for rule in CALIBRATORS] == [
        ("minmax", ""),
        ("entropy", "bins=2048,levels=127,variant=tensorrt"),
        ("entropy2", "bins=2048,levels=127,variant=tensorrt"),
        ("entropy2", "bins=2048,levels=127,variant=tensorrt,batch_size=8"),
        ("entropy2", "bins=2048,levels=128,variant=tensorrt10"),
        ("entropy2", "bins=2048,levels=128,variant=tensorrt10,batch_size=8"),
        ("entropy2", "bins=2048,levels=128,variant=modelopt"),
        ("entropy2", "bins=128,levels=128,variant=onnxruntime"),
        ("entropy2", "bins=1000,levels=900,variant=onnxruntime"),
        ("legacy", "quantile=0.9999,regression_cutoff=1.0"),
        ("legacy", "quantile=0.5,regression_cutoff=0.25"),
        ("moving_average", "beta=0.9,sigmas=3.0,warmup=8,batch_size=1"),
        ("moving_average", "beta=0.5,sigmas=1,warmup=1,batch_size=2"),
        ("percentile", "percentile=99.99"),
        ("percentile", "percentile=90"),
        ("mse", "bins=2048,start_bin=128"),
        ("asymmetric_mse", "bins=2048,start_bin=128"),
        (
            "per_tensor",
            "criterion=local; minmax; tail: percentile percentile=90; "
            "modelopt: entropy2 bins=2048,levels=128,variant=modelopt",
        ),
    ]


def test_two_of_tensorrt_s_look_after_layer_fusion() -> None:
    assert {rule.name for rule in CALIBRATORS if after_fusion(rule)} == {"entropy", "legacy"}


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
        ranges.amax = source


@pytest.mark.parametrize("amax", [0.0, -1.0, math.nan, math.inf])
def test_a_range_that_cannot_be_quantized_is_refused(amax: float) -> None:
    with pytest.raises(DataError, match="dynamic range of tensor 'conv1'"):
        DynamicRanges({"input": 1.0, "conv1": amax})
