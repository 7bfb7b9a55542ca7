"""Sensitivities: the unit that loses most, what float gains there, each set of images by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.diagnosis import sensitivity
from bench.diagnosis.noise import Noise, NoiseMeter
from bench.diagnosis.sensitivity import Networks, Sensitivities, measure_sensitivity
from bench.diagnosis.walk import network_outputs
from bench.model.heads.classifier import Classifier
from tests.diagnosis.small_networks import block


@pytest.fixture(scope="module")
def networks(pair) -> Networks:
    """The range of what ``pointwise`` reads is far too wide."""
    made = pair(block)
    ranges = {**made.ranges, "relu1_out": 60 * made.ranges["relu1_out"]}
    bad = replace(made, ranges=ranges)
    return Networks(bad.fp32, bad.qdq, "images", bad.units, Classifier())


@pytest.fixture(scope="module")
def sets(draw) -> dict[str, list[Callable[[], Any]]]:
    images = [lambda image=image: image for image in draw(5)]
    return {"calibration": images[:3], "validation": images[3:]}


@pytest.fixture(scope="module")
def measured(networks, sets) -> Sensitivities:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "FEW", 2)
        return measure_sensitivity(networks, sets)


def assert_same(one: Noise, other: Noise) -> None:
    assert one.images == other.images
    assert one.energies.keys() == other.energies.keys()
    for part, values in one.energies.items():
        np.testing.assert_allclose(values, other.energies[part], rtol=1e-6)
    assert one.divergence == pytest.approx(other.divergence)


def test_the_unit_with_a_bad_range_has_most_noise_alone(measured):
    for name in ("calibration", "validation"):
        shares = {one.unit.name: one.alone[name].share for one in measured.units}
        worst, second, *_ = sorted(shares, key=shares.__getitem__, reverse=True)
        assert worst == "pointwise"
        assert shares[worst] > 3 * shares[second] > 0
        most = max(measured.units, key=lambda one: one.alone[name].kl)
        assert most.unit.name == "pointwise"


def test_float_gains_most_there(measured):
    for name, everything in measured.all_int8.items():
        left = {one.unit.name: one.all_but[name].share for one in measured.units}
        assert min(left, key=left.__getitem__) == "pointwise"
        assert left["pointwise"] < everything.share / 3


def test_its_activations_lose_and_not_its_weights(measured):
    one = next(one for one in measured.units if one.unit.name == "pointwise")
    for name in one.alone:
        assert one.activations_alone[name].share > 10 * one.weights_alone[name].share > 0


def test_a_sum_has_no_weights_to_lose_by(measured):
    one = next(one for one in measured.units if one.unit.name == "join")
    for name in one.alone:
        assert one.weights_alone[name].share == pytest.approx(0, abs=1e-12)
        assert one.activations_alone[name].share > 0


def test_units_come_in_the_order_of_the_network(measured, networks):
    assert tuple(one.unit for one in measured.units) == networks.units


def test_all_images_count_alone_and_a_few_otherwise(measured):
    for one in measured.units:
        assert {name: noise.images for name, noise in one.alone.items()} == {
            "calibration": 3,
            "validation": 2,
        }
        for few in (one.weights_alone, one.activations_alone, one.all_but, measured.all_int8):
            assert {name: noise.images for name, noise in few.items()} == {
                "calibration": 2,
                "validation": 2,
            }


def test_sets_are_measured_apart(measured, networks, sets, monkeypatch):
    monkeypatch.setattr(sensitivity, "FEW", 2)
    apart = measure_sensitivity(networks, {"validation": sets["validation"]})
    assert_same(measured.all_int8["validation"], apart.all_int8["validation"])
    for one, other in zip(measured.units, apart.units, strict=True):
        for kind in ("alone", "weights_alone", "activations_alone", "all_but"):
            actual, expected = getattr(one, kind), getattr(other, kind)
            assert set(expected) == {"validation"}
            assert_same(actual["validation"], expected["validation"])


def test_all_in_int8_is_the_whole_network(measured, networks, sets):
    images = [image() for image in sets["validation"]]
    meter = NoiseMeter(networks.head, network_outputs(networks.in_float, images))
    noise = Noise()
    for number, outputs in enumerate(network_outputs(networks.in_int8, images)):
        meter.add(number, outputs, noise)
    assert_same(measured.all_int8["validation"], noise)


def test_an_image_given_twice_counts_twice(networks, sets, monkeypatch):
    monkeypatch.setattr(sensitivity, "FEW", 2)
    few = replace(networks, units=networks.units[:1])
    actual = measure_sensitivity(few, {"same": [sets["validation"][0]] * 3}).units[0]
    assert actual.alone["same"].images == 3
    assert actual.weights_alone["same"].images == 2
