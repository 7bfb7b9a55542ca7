"""What tensors show: clipping and rounding add up, histograms count every value, the depth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.calibration.statistics import TensorStatistics
from bench.diagnosis import tensors
from bench.diagnosis.tensors import PAIRS, histogram, observe, rule_error
from tests.diagnosis.small_networks import block, parts


def snapshot(values):
    statistics = TensorStatistics("x")
    statistics.update(np.asarray(values, np.float32))
    return statistics.snapshot()


@pytest.mark.parametrize("amax", [0.5, 2.0, 8.0])
def test_clipping_and_rounding_are_the_whole_error(amax):
    x = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    error = rule_error(snapshot(x), amax)
    step = amax / 127
    int8 = np.clip(np.rint(x / step), -128, 127) * step
    share = float(((x - int8) ** 2).sum() / (x**2).sum())
    assert error.clipping + error.rounding == error.total == pytest.approx(share, rel=0.02)
    assert (error.clipping == 0) == (amax > np.abs(x).max())


def test_a_silent_tensor_has_no_error():
    error = rule_error(snapshot(np.zeros(10)), 1.0)
    assert (error.clipping, error.rounding) == (0, 0)
    assert histogram(snapshot(np.zeros(10))) == ()


def test_the_histogram_counts_every_value_where_it_lies():
    x = np.random.default_rng(1).uniform(-1, 3, 100_000)
    counts = np.array(histogram(snapshot(x), 16))
    expected, _ = np.histogram(x, 16, (x.min(), x.max()))
    assert counts.sum() == x.size
    np.testing.assert_allclose(counts, expected, atol=150)


@pytest.mark.parametrize("network", [block, parts])
@pytest.mark.parametrize("stretch", [1, 3, 50])
def test_tensors_of_both_networks_are_compared(network, stretch, pair, draw, monkeypatch):
    monkeypatch.setattr(tensors, "STRETCH", stretch)
    made = pair(network, "implicit" if network is parts else "explicit")
    amax = {name: made.ranges[name] for name in made.points.tensors}
    images = draw(3)
    seen = observe(
        made.cut(made.fp32), made.cut(made.qdq), amax, [lambda x=x: x for x in images]
    )  # fmt: skip
    assert list(seen) == made.graph.order(amax)
    assert seen["images"].sqnr_db is None
    assert seen["images"].count == sum(image.size for image in images)
    beyond = sum(int((np.abs(image) > amax["images"]).sum()) for image in images)
    assert seen["images"].saturated == beyond
    others = [one.sqnr_db for name, one in seen.items() if name != "images"]
    assert all(5 < db < 60 for db in others)
    for one in seen.values():
        assert 0 < len(one.pairs) <= PAIRS + len(images)
        assert one.not_finite == 0


def test_nothing_hangs_on_chance(pair, draw):
    made = pair(block)
    amax = {name: made.ranges[name] for name in made.points.tensors}
    images = [lambda x=x: x for x in draw(2)]
    first, second = (
        observe(made.cut(made.fp32), made.cut(made.qdq), amax, images) for _ in range(2)
    )
    assert {name: one.pairs for name, one in first.items()} == {
        name: one.pairs for name, one in second.items()
    }


def test_channels_that_are_dead_or_wide():
    seen = tensors.Seen()
    x = np.ones((1, 4, 3, 3), np.float32)
    x[0, 1] = 0
    x[0, 2] = 50
    seen.add(x, np.where(x > 1, np.nan, x), 10.0, np.arange(5))
    assert (seen.channel_amax == 0).sum() == 1
    assert seen.channel_spread == 50
    assert (seen.zeros, seen.saturated, seen.not_finite) == (9, 9, 9)
    assert seen.sqnr_db == -math.inf or math.isnan(seen.noise)
