"""The moving average: which extremes count, how much, and in which order."""

import math
from typing import Any

import numpy as np
import pytest

from bench.calibration.moving_average import MovingAverage
from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.errors import ConfigError


def look(*images: list[float]) -> Snapshot:
    statistics = TensorStatistics("x")
    for image in images:
        statistics.update(np.array(image, np.float32))
    return statistics.snapshot()


def test_a_worked_example() -> None:
    """Start: mean 2, variance 1. Then 4: mean 2 + 0.1 * 2, variance 0.9 * (1 + 0.1 * 4)."""
    snapshot = look([0.0, 1.0], [0.5, 3.0], [0.0, 4.0])
    assert MovingAverage(warmup=2, sigmas=0).amax(snapshot) == pytest.approx(2.2)
    assert MovingAverage(warmup=2, sigmas=1).amax(snapshot) == pytest.approx(2.2 + math.sqrt(1.26))
    assert MovingAverage(warmup=2, sigmas=3).amax(snapshot) == 4.0  # not beyond what was seen


def test_the_start_is_the_plain_mean_of_the_first_batches() -> None:
    snapshot = look([1.0], [2.0], [6.0])
    for warmup in (3, 8):
        assert MovingAverage(warmup=warmup, sigmas=0).amax(snapshot) == pytest.approx(3.0)
        assert MovingAverage(warmup=warmup, sigmas=1).amax(snapshot) == pytest.approx(
            3.0 + math.sqrt(14 / 3)
        )


def test_an_outlier_counts_as_four_sigma() -> None:
    usual = [[9.0], [11.0]] * 8  # mean 10, sigma 1
    rule = MovingAverage(warmup=16, sigmas=0)
    assert rule.amax(look(*usual, [1000.0])) == pytest.approx(10 + 0.1 * 4)
    assert rule.amax(look(*usual, [14.0], [1.0])) < 10.4
    assert rule.amax(look(*usual, [13.0])) == pytest.approx(10 + 0.1 * 3)
    beyond = look(*usual, [1000.0])
    variance = 0.9 * (1 + 0.1 * 16)
    expected = 10.4 + 3 * math.sqrt(variance)
    assert MovingAverage(warmup=16).amax(beyond) == pytest.approx(expected)


def test_equal_batches_do_not_make_every_other_an_outlier() -> None:
    assert MovingAverage(beta=0.5, sigmas=0).amax(look(*[[1.0]] * 8, [3.0])) == pytest.approx(2.0)


def test_the_larger_end_of_the_range_counts() -> None:
    snapshot = look([-3.0, 1.0], [-5.0, 1.0])
    assert MovingAverage(sigmas=0).amax(snapshot) == pytest.approx(4.0)
    assert MovingAverage(sigmas=1).amax(snapshot) == pytest.approx(5.0)
    assert MovingAverage(sigmas=0).amax(look([-3.0, -1.0])) == 3.0


def test_later_images_count_more() -> None:
    images = [[float(1 + index)] for index in range(40)]
    rule = MovingAverage(sigmas=0)
    assert rule.amax(look(*images)) > 30
    assert rule.amax(look(*images[::-1])) < 12


def test_a_batch_is_one_step() -> None:
    single = look([1.0], [3.0], [2.0], [7.0], [5.0])
    paired = look([3.0], [7.0], [5.0])
    for sigmas in (0, 1):
        one = MovingAverage(sigmas=sigmas, warmup=1, batch_size=2).amax(single)
        assert one == MovingAverage(sigmas=sigmas, warmup=1).amax(paired)
        assert one != MovingAverage(sigmas=sigmas, warmup=1).amax(single)
    assert MovingAverage(sigmas=0, batch_size=99).amax(single) == 7.0


@pytest.mark.parametrize(
    "option",
    [{"beta": 1}, {"beta": -0.1}, {"sigmas": -1}, {"sigmas": math.inf}, {"sigmas": math.nan},
     {"warmup": 0}, {"batch_size": 0}],
)  # fmt: skip
def test_parameters_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(option))}=.* is out of range"):
        MovingAverage(**option)
