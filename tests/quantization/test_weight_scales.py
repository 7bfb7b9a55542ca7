"""Scales of weights: granularity and rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.quantization.weight_scales import WeightScales

seeds = st.integers(0, 2**32 - 1)


def rounded(weight: np.ndarray, scales: np.ndarray, axis: int) -> np.ndarray:
    steps = scales.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    return np.clip(np.rint(weight / steps), -127, 127) * steps


@given(seeds, st.sampled_from([0, 1]))
@settings(deadline=None)
def test_per_tensor_is_the_largest_of_all(seed: int, axis: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(4, 3, 3, 3)).astype(np.float32)
    scales = WeightScales("per_tensor")(weight, axis)
    assert scales.shape == (weight.shape[axis],)
    assert (scales == np.abs(weight).max().astype(np.float64) / 127).all()
    assert scales[0] == WeightScales()(weight, axis).max()


@given(seeds, st.sampled_from(["per_channel", "per_tensor"]))
@settings(deadline=None, max_examples=30)
def test_mse_never_errs_more_than_max(seed: int, granularity: str) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.standard_t(2, size=(5, 40)).astype(np.float32)
    errors = {}
    for rule in ("max", "mse"):
        scales = WeightScales(granularity, rule)(weight, 0)
        errors[rule] = ((rounded(weight, scales, 0) - weight) ** 2).sum()
    assert errors["mse"] <= errors["max"] * (1 + 1e-9)


def test_mse_clips_an_outlier_and_nothing_else() -> None:
    even = np.linspace(-1, 1, 255, dtype=np.float32)
    assert WeightScales(rule="mse")(even[None], 0)[0] == pytest.approx(1 / 127)
    many = np.random.default_rng(0).normal(0, 0.1, 200_000).astype(np.float32)
    outlier = np.append(many, np.float32(1.0))
    assert WeightScales(rule="mse")(outlier[None], 0)[0] < 0.9 / 127


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_mse_scales_with_the_weights(seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(3, 50)).astype(np.float32)
    rule = WeightScales(rule="mse")
    np.testing.assert_allclose(rule(weight * 4, 0), 4 * rule(weight, 0), rtol=1e-12)


@pytest.mark.parametrize("rule", ["max", "mse"])
def test_a_channel_of_zeros_takes_any_step(rule: str) -> None:
    weight = np.array([[0, 0], [1, -1]], np.float32)
    assert WeightScales(rule=rule)(weight, 0)[0] == 1
    assert (WeightScales("per_tensor", rule)(weight * 0, 0) == 1).all()
