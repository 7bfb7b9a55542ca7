from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.evaluation.fidelity import Sqnr

property_test = settings(deadline=None, derandomize=True)


def decibels(reference, actual) -> float:
    sqnr = Sqnr()
    sqnr.update(reference, actual)
    return sqnr.decibels()


def test_a_tenth_of_the_amplitude_is_twenty_decibels():
    signal = np.ones((4, 3), dtype=np.float32)
    assert decibels([signal], [signal * 0.9]) == pytest.approx(20, abs=1e-5)


@property_test
@given(seed=st.integers(0, 1000), cut=st.integers(1, 15))
def test_batches_add_up(seed, cut):
    rng = np.random.default_rng(seed)
    reference, actual = rng.normal(size=(2, 16, 5)).astype(np.float32)
    sqnr = Sqnr()
    sqnr.update([reference[:cut]], [actual[:cut]])
    sqnr.update([reference[cut:]], [actual[cut:]])
    noise = (reference.astype(float) - actual) ** 2
    expected = 10 * np.log10((reference.astype(float) ** 2).sum() / noise.sum())
    assert sqnr.decibels() == pytest.approx(expected, abs=1e-9)


def test_a_loud_output_does_not_drown_the_others():
    boxes, scores = np.full(10, 500.0), np.full(10, 0.5)
    value = decibels([boxes, scores], [boxes * 0.99, scores * 0.9])
    assert value == pytest.approx((40 + 20) / 2)


def test_no_noise_is_infinite_and_an_exact_output_hides_nothing():
    count, scores = np.full(3, 100.0), np.ones(10)
    assert decibels([count, scores], [count, scores]) == math.inf
    assert decibels([count, scores], [count, scores * 0.9]) == pytest.approx(20)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_an_output_that_is_not_finite_is_all_noise(broken):
    assert decibels([np.ones(3)], [np.array([1.0, broken, 1.0])]) == -math.inf
    assert math.isnan(decibels([np.array([1.0, broken])], [np.ones(2)]))


def test_noise_without_signal_is_the_worst():
    assert decibels([np.zeros(3)], [np.ones(3)]) == -math.inf


def test_large_float16_energies_do_not_overflow():
    signal = np.full(1000, 6e4, dtype=np.float16)
    assert decibels([signal], [signal]) == math.inf
    assert decibels([signal], [signal * np.float16(0.5)]) == pytest.approx(6.02, abs=0.01)


def test_outputs_that_do_not_correspond_are_refused():
    sqnr = Sqnr()
    with pytest.raises(ValueError, match="no batch"):
        sqnr.decibels()
    with pytest.raises(ValueError, match="shapes"):
        sqnr.update([np.ones((2, 3))], [np.ones((1, 3))])
    with pytest.raises(ValueError, match="shapes"):
        sqnr.update([np.ones(3)], [np.ones(3), np.ones(3)])
    sqnr.update([np.ones(3)], [np.ones(3)])
    with pytest.raises(ValueError, match="2 outputs"):
        sqnr.update([np.ones(3)] * 2, [np.ones(3)] * 2)
