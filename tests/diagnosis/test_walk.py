"""The walk: a network with one unit changed gives what a file with that one changed gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from bench.diagnosis.sensitivity import ALL_BUT, ALONE
from bench.diagnosis.unit import Precision, Unit, UnitModels
from bench.diagnosis.walk import Changed, network_outputs, walk
from bench.errors import EngineError
from bench.model.cut import Values
from tests.diagnosis.small_networks import block, named_as_labels, parts, products, twice

NETWORKS = [
    (named_as_labels, "explicit"),  # otherwise ``block``
    (block, "explicit_residual"),
    (twice, "explicit"),
    (products, "explicit"),
    (parts, "implicit"),
]
every_network = pytest.mark.parametrize(
    ("network", "placement"), NETWORKS, ids=[f"{n.__name__}-{p}" for n, p in NETWORKS]
)


def alternatives(
    made: Any, precisions: dict[str, Precision]
) -> Callable[[Unit, Values], Iterable[onnx.ModelProto]]:
    models = UnitModels(made.fp32, made.qdq)
    return lambda unit, values: [models.model(unit, precisions, values)]


def key(change: Changed) -> tuple[str, str, int]:
    return change.unit.name, change.label, change.image


def assert_close(actual: Iterable[Any], expected: Iterable[Any]) -> None:
    """Up to the rounding of float32."""
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


# --- against files --------------------------------------------------------------------------------


@every_network
def test_one_unit_in_int8_is_the_file_with_that_one_in_int8(
    network, placement, pair, draw, run_in_onnxruntime
):
    made = pair(network, placement)
    (image,) = draw()
    changes = list(walk(made.cut(made.fp32), made.units, alternatives(made, ALONE), [image]))
    assert [key(one) for one in changes] == [
        (unit.name, label, 0) for unit in made.units for label in ALONE
    ]
    for change in changes:
        proto = made.quantized(
            {change.unit.name},
            activations=change.label != "int8_weights",
            weights=change.label != "int8_activations",
        )
        assert_close(change.outputs, run_in_onnxruntime(proto, image))


@every_network
def test_one_unit_in_float_is_the_file_with_all_others_in_int8(
    network, placement, pair, draw, run_in_onnxruntime
):
    made = pair(network, placement)
    (image,) = draw()
    changes = list(walk(made.cut(made.qdq), made.units, alternatives(made, ALL_BUT), [image]))
    names = {unit.name for unit in made.units}
    assert [change.unit.name for change in changes] == [unit.name for unit in made.units]
    for change in changes:
        proto = made.quantized(names - {change.unit.name})
        assert_close(change.outputs, run_in_onnxruntime(proto, image))


def test_a_unit_as_it_was_changes_nothing(pair, draw, run_in_onnxruntime):
    made = pair(block)
    (image,) = draw()
    for proto, label in ((made.fp32, "float"), (made.qdq, "int8")):
        expected = run_in_onnxruntime(proto, image)
        same = alternatives(made, {label: label})
        for change in walk(made.cut(proto), made.units, same, [image]):
            assert_close(change.outputs, expected)


@every_network
def test_outputs_of_the_whole_network(network, placement, pair, draw, run_in_onnxruntime):
    made = pair(network, placement)
    images = draw(2)
    for proto in (made.fp32, made.qdq):
        actual = network_outputs(made.cut(proto), iter(images))
        for outputs, image in zip(actual, images, strict=True):
            assert_close(outputs, run_in_onnxruntime(proto, image))


# --- images and alternatives ----------------------------------------------------------------------


def test_the_outputs_of_an_image_are_those_of_a_walk_with_it_alone(pair, draw):
    made = pair(block)
    images = draw(3)
    network, ways = made.cut(made.fp32), alternatives(made, {"int8": "int8"})
    units = [unit for unit in made.units if unit.name in ("depthwise", "join")]
    together = {key(one): one.outputs for one in walk(network, units, ways, iter(images))}
    assert len(together) == 3 * len(units)
    for number, image in enumerate(images):
        for one in walk(network, units, ways, [image]):
            expected = together[one.unit.name, one.label, number]
            np.testing.assert_array_equal(one.outputs, expected)


def test_only_what_is_wanted_is_given(pair, draw):
    made = pair(block)
    network, units, ways = made.cut(made.fp32), made.units[:2], alternatives(made, ALONE)
    expected = {key(one): one.outputs for one in walk(network, units, ways, draw(3))}

    def wanted(label: str, image: int) -> bool:
        return image != 1 and (label == "int8" or (label == "int8_weights" and image == 2))

    actual = list(walk(network, units, ways, draw(3), wanted))
    assert [key(one) for one in actual] == [
        (unit.name, *rest)
        for unit in units
        for rest in [("int8", 0), ("int8", 2), ("int8_weights", 2)]
    ]
    for one in actual:
        np.testing.assert_array_equal(one.outputs, expected[key(one)])


def test_units_that_are_left_out_are_passed(pair, draw):
    made = pair(block)
    ways = alternatives(made, {"int8": "int8"})
    (image,) = draw()
    whole = {key(one): one.outputs for one in walk(made.cut(made.fp32), made.units, ways, [image])}
    few = [unit for unit in made.units if unit.name in ("depthwise", "fc")]
    actual = list(walk(made.cut(made.fp32), few, ways, [image]))
    assert [one.unit for one in actual] == few
    for one in actual:
        assert_close(one.outputs, whole[key(one)])


@pytest.mark.parametrize("of", ["fp32", "qdq"])
def test_several_ways_to_calibrate_in_one_walk(of, pair, draw, run_in_onnxruntime):
    """Each as a separate model, in a float network and in one that a third way calibrated."""
    made = pair(block)
    ways = [
        replace(made, ranges={name: factor * amax for name, amax in made.ranges.items()})
        for factor in (0.5, 2.1)
    ]
    models = [UnitModels(way.fp32, way.qdq) for way in ways]

    def each(unit: Unit, values: Values) -> Iterable[onnx.ModelProto]:
        return [
            one.model(unit, {f"way {number}": "int8"}, values) for number, one in enumerate(models)
        ]

    unit, (image,) = made.units[2], draw()
    actual = list(walk(made.cut(getattr(made, of)), [unit], each, [image]))
    assert [one.label for one in actual] == ["way 0", "way 1"]
    for one, way in zip(actual, ways, strict=True):
        if of == "fp32":
            proto = way.quantized({unit.name})
        else:
            ranges = {**made.ranges, **{name: way.ranges[name] for name in unit.activations}}
            proto = replace(made, ranges=ranges).qdq
        assert_close(one.outputs, run_in_onnxruntime(proto, image))


def test_a_piece_that_openvino_refuses_is_one_error(pair, draw):
    made = pair(block)
    broken = onnx.ModelProto()
    broken.CopyFrom(made.fp32)
    broken.graph.node[-1].op_type = "NoSuchOperator"
    with pytest.raises(EngineError, match="OpenVINO refuses"):
        list(walk(made.cut(broken), made.units, alternatives(made, ALONE), draw()))
