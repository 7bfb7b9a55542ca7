"""The error estimated from a histogram against that of the values themselves."""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
import pytest

from bench.calibration.quantization_error import QuantizationError, quantization_error
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.quantization.grid import grid_of

Values = npt.NDArray[np.float32]

COUNT = 400_000
SHARES = [0.01, 0.03, 0.1, 0.3, 0.45, 0.7, 0.9, 0.99, 1.0, 1.0002, 8 / 7]
"""Of the maximum: thresholds that clip nearly all, some, and nothing."""


def normal(count: int = COUNT) -> Values:
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def half_zeros() -> Values:
    values = normal()
    values[np.random.default_rng(1).random(COUNT) < 0.5] = 0
    return values


SMOOTH = {
    "normal": normal(),
    "one outlier": np.append(normal(), np.float32(-500)),
    "one far outlier": np.append(normal(), np.float32(50_000)),
    "half zeros": half_zeros(),
    "after a ReLU": np.maximum(normal(), 0),
    "uniform": np.random.default_rng(2).random(COUNT, np.float32),
}
GREY = np.full(COUNT, 114 / 255, np.float32)
SPIKED = {
    "letterboxed photograph": np.append(
        GREY, np.random.default_rng(3).beta(2, 2, COUNT).astype(np.float32)
    ),
    "letterboxed 8-bit image": np.append(
        GREY, np.random.default_rng(4).integers(0, 256, COUNT).astype(np.float32) / 255
    ),
    "spike among normal values": np.append(np.full(COUNT, 0.137, np.float32), normal()),
}


def look(values: Values) -> Snapshot:
    statistics = TensorStatistics("x")
    statistics.update(values)
    return statistics.snapshot()


def brute_force(values: Values, amax: float) -> QuantizationError:
    """As ONNX quantizes to int8: q = saturate(round(x / scale)), of every value."""
    x, step = values.astype(np.float64), amax / 127
    errors = (np.clip(np.rint(x / step), -128, 127) * step - x) ** 2
    beyond = (x > amax) | (x < -128 * step)
    return QuantizationError(
        x.size, float((x**2).sum()), float(errors[beyond].sum()), float(errors[~beyond].sum())
    )


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("values", SMOOTH.values(), ids=SMOOTH)
def test_clipping_rounding_and_total_are_within_one_percent(values: Values, share: float) -> None:
    snapshot = look(values)
    estimated = quantization_error(snapshot, share * snapshot.amax)
    expected = brute_force(values, share * snapshot.amax)
    assert estimated.count == expected.count
    assert estimated.energy == pytest.approx(expected.energy, rel=0.001)
    assert estimated.clipping == pytest.approx(
        expected.clipping, rel=0.01, abs=1e-6 * estimated.total
    )
    assert estimated.rounding == pytest.approx(
        expected.rounding, rel=0.01, abs=1e-6 * estimated.total
    )
    assert estimated.total == pytest.approx(expected.total, rel=0.01)
    assert estimated.sqnr_db == pytest.approx(expected.sqnr_db, abs=0.05)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("values", SPIKED.values(), ids=SPIKED)
def test_of_a_spike_rounding_is_within_one_percent_of_the_total(
    values: Values, share: float
) -> None:
    snapshot = look(values)
    estimated = quantization_error(snapshot, share * snapshot.amax)
    expected = brute_force(values, share * snapshot.amax)
    assert estimated.energy == pytest.approx(expected.energy, rel=0.001)
    assert estimated.clipping == pytest.approx(
        expected.clipping, rel=0.01, abs=1e-6 * estimated.total
    )
    assert estimated.rounding == pytest.approx(expected.rounding, rel=0, abs=0.01 * estimated.total)
    assert estimated.total == pytest.approx(expected.total, rel=0.01)


@pytest.mark.parametrize("name", ["one outlier", "one far outlier"])
@pytest.mark.parametrize("amax", [0.1, 1.0, 2.5, 4.0])
def test_thresholds_far_below_an_outlier_are_as_good(name: str, amax: float) -> None:
    estimated, expected = (of(SMOOTH[name], amax) for of in (error_of, brute_force))
    assert estimated.clipping == pytest.approx(expected.clipping, rel=0.001)
    assert estimated.rounding == pytest.approx(expected.rounding, rel=0.01)


def error_of(values: Values, amax: float) -> QuantizationError:
    return quantization_error(look(values), amax)


def test_the_grid_is_that_of_the_quantized_file() -> None:
    """Its scale, and int8 that saturates at -128: below zero the range reaches one step further."""
    assert float(grid_of(2.0).scale) == pytest.approx(2 / 127, rel=1e-6)
    assert grid_of(2.0).zero_point.dtype == np.int8
    assert np.iinfo(np.int8).min == -128
    step = 2 / 127
    assert error_of(np.full(100, -128 * step, np.float32), 2.0).total < 100 * (0.01 * step) ** 2
    above = error_of(np.full(100, 128 * step, np.float32), 2.0)
    assert above.rounding == 0
    assert above.clipping == pytest.approx(100 * step**2, rel=0.01)
    beyond = error_of(np.full(100, -130 * step, np.float32), 2.0)
    assert beyond.clipping == pytest.approx(100 * (2 * step) ** 2, rel=0.01)


def test_a_bin_of_half_a_step_is_integrated_where_its_centre_would_mislead() -> None:
    """Values of one bin, 0.5 of 2^14 equal ones wide, with a step of 129 / 127 of those."""
    values = (np.linspace(128.5, 128.999, 1000) / 2**14).astype(np.float32)
    snapshot = look(np.append(values, np.float32(1)))
    assert np.count_nonzero(snapshot.counts) == 2
    amax = 129 / 2**14
    expected = brute_force(values, amax).rounding
    assert quantization_error(snapshot, amax).rounding == pytest.approx(expected, rel=0.01)
    centre = np.full(1000, 128.75 / 2**14, np.float32)
    assert brute_force(centre, amax).rounding < 0.8 * expected


def test_the_parts_make_the_whole() -> None:
    snapshot = look(SMOOTH["normal"])
    error = quantization_error(snapshot, 3.0)
    assert error.clipping > 0
    assert error.rounding > 0
    assert error.total == error.clipping + error.rounding
    assert error.mse == error.total / COUNT
    assert error.mse == pytest.approx(error.clipping_mse + error.rounding_mse)
    assert error.sqnr_db == pytest.approx(10 * math.log10(error.energy / error.total))
    assert error.rounding_mse == pytest.approx((3 / 127) ** 2 / 12, rel=0.01)


def test_nothing_is_clipped_at_the_maximum_and_nothing_rounded_of_zeros() -> None:
    for values in [*SMOOTH.values(), *SPIKED.values()]:
        assert quantization_error(look(values), look(values).amax).clipping == 0
    zeros = error_of(np.zeros(10, np.float32), 1.0)
    assert (zeros.energy, zeros.total, zeros.mse) == (0, 0, 0)
    assert zeros.sqnr_db == math.inf
    assert error_of(np.empty(0, np.float32), 1.0).mse == 0


@pytest.mark.parametrize("value", [1.0, -6.0, 2.0**-100])
def test_a_constant_on_the_grid_has_no_error(value: float) -> None:
    estimated = error_of(np.full(1000, value, np.float32), abs(value))
    assert estimated.energy == pytest.approx(1000 * value**2, rel=1e-3)
    assert estimated.total < 1e-6 * estimated.energy / 127**2
    assert QuantizationError(1, 0.0, 1.0, 0.0).sqnr_db == -math.inf


@pytest.mark.parametrize("power", [-90, -1, 7, 100])
def test_a_power_of_two_scales_the_error_exactly(power: int) -> None:
    small, large = (
        error_of(normal(10_000), 2.5),
        error_of(np.ldexp(normal(10_000), power), 2.5 * 2.0**power),
    )
    for part in ("energy", "clipping", "rounding"):
        assert getattr(large, part) == getattr(small, part) * 4.0**power
    assert large.sqnr_db == pytest.approx(small.sqnr_db)


@pytest.mark.parametrize("amax", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_threshold_is_refused(amax: float) -> None:
    with pytest.raises(ValueError, match="is not a threshold"):
        error_of(normal(10), amax)


def test_a_hundred_tensors_at_six_thresholds_take_below_a_second() -> None:
    snapshot = look(SMOOTH["normal"])
    quantization_error(snapshot, 1.0)  # compiled, or read from disk
    begin = time.process_time()
    for i in range(600):
        quantization_error(snapshot, 1.0 + i / 200)
    assert time.process_time() - begin < 1
