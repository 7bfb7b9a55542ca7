"""The MSE search against plain NumPy."""

import numpy as np
import pytest

from bench.calibration.mse import Mse, _squared_errors
from bench.calibration.statistics import TensorStatistics
from bench.errors import ConfigError


def slow_squared_errors(counts: np.ndarray, start: int) -> np.ndarray:
    """pytorch-quantization's ``_compute_amax_mse`` with fake quantization written out, in bins."""
    centres = np.arange(counts.size)
    errors = []
    for amax in range(start, counts.size):
        scale = 127 / amax
        quantized = np.clip(np.round(centres * scale), -128, 127) / scale
        errors.append(np.sum((quantized - centres) ** 2 * counts))
    return np.array(errors)


@pytest.mark.parametrize("seed", range(6))
def test_errors_and_choice_are_those_of_plain_numpy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    decay = np.exp(-generator.uniform(0, 12) * np.arange(600) / 600)
    counts = (generator.random(600) * decay * 10.0 ** generator.integers(1, 9)).astype(np.int64)
    counts[generator.random(600) < generator.choice([0.0, 0.5, 0.95])] = 0
    counts[-1] = 1
    expected = slow_squared_errors(counts, 128)
    filled, thresholds = np.flatnonzero(counts), np.arange(128.0, counts.size)
    found = _squared_errors(filled.astype(float), counts[filled].astype(float), thresholds)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert found.argmin() == expected.argmin()


def test_the_threshold_is_a_bin_centre_that_clips_the_tail() -> None:
    statistics = TensorStatistics("x")
    values = np.random.default_rng(0).standard_normal(1_000_000)
    statistics.update(np.append(values, 16.0))
    snapshot = statistics.snapshot()
    index = Mse().amax(snapshot) / (16 / 2048)
    assert index == int(index)
    assert index == 128 + slow_squared_errors(snapshot.magnitudes().counts, 128).argmin()
    assert 3.5 < Mse().amax(snapshot) < np.abs(values).max() < 6


def test_a_later_start_is_respected() -> None:
    statistics = TensorStatistics("x")
    statistics.update(np.append(np.random.default_rng(0).uniform(0, 0.1, 1_000_000), 1.0))
    assert Mse().amax(statistics.snapshot()) < 0.4
    assert Mse(start_bin=1024).amax(statistics.snapshot()) >= 0.5


@pytest.mark.parametrize(("bins", "start"), [(0, 1), (5000, 128), (2048, 0), (100, 128)])
def test_parameters_out_of_range_are_refused(bins: int, start: int) -> None:
    with pytest.raises(ConfigError, match="is out of range"):
        Mse(bins=bins, start_bin=start)
