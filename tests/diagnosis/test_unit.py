"""Units: which there are, and what one computes in each precision."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import onnx
import pytest

from bench.diagnosis.unit import Precision, Unit, UnitModels, labelled, plain_inputs
from bench.engine.ov_piece import OpenPiece
from tests.diagnosis.small_networks import block, named_as_labels, parts, products, twice

PRECISIONS: dict[str, Precision] = {name: name for name in get_args(Precision)}


def run(model: onnx.ModelProto, values: dict[str, Any], outputs: int = 1) -> dict[str, list[Any]]:
    """The outputs of a unit's model by label."""
    piece = OpenPiece(model)
    actual = piece.run(values)
    labels = labelled(piece.gives, outputs)
    return {label: [actual[name] for name in made] for label, made in labels.items()}


def giving(proto: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return proto


# --- which there are ------------------------------------------------------------------------------


def test_units_are_the_nodes_with_quantized_inputs_in_the_order_of_the_network(pair):
    units = pair(block).units
    assert units == (
        Unit("stem", ("images",)),
        Unit("depthwise", ("relu0_out",)),
        Unit("pointwise", ("relu1_out",)),
        Unit("join", ("pointwise_out", "relu0_out")),
        Unit("fc", ("flatten_out",)),
    )
    assert plain_inputs(units)["join"] == ("pointwise_out", "relu0_out")


def test_an_input_without_qdq_is_not_of_the_unit(pair):
    units = {unit.name: unit.activations for unit in pair(block, "explicit_residual").units}
    assert units["join"] == ("relu0_out",)


def test_a_product_of_activations_and_a_gemm_that_adds_one_have_two(pair):
    units = {unit.name: unit.activations for unit in pair(products).units}
    assert units["attend"] == ("back_out", "tokens_out")
    assert units["fc"] == ("flat_out", "added_out")
    assert units["mix"] == ("tokens_out",)


# --- what they compute ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "placement", "name"),
    [
        (block, "explicit", "stem"),  # which reads the network's input
        (block, "explicit", "depthwise"),
        (block, "explicit", "join"),
        (block, "explicit_residual", "join"),
        (block, "explicit", "fc"),
        (twice, "explicit", "total"),  # whose inputs are one tensor
        (products, "explicit", "mix"),
        (products, "explicit", "back"),  # whose weights are computed from a shape
        (products, "explicit", "attend"),
        (products, "explicit", "fc"),
        (parts, "implicit", "split"),  # which has two outputs
        (parts, "implicit", "best"),
        (parts, "implicit", "flat"),  # whose shape is computed
        (named_as_labels, "explicit", "join"),
        (named_as_labels, "explicit", "pointwise"),
    ],
)
def test_a_unit_in_every_precision(network, placement, name, pair, draw, run_in_onnxruntime):
    """Against the networks in which it alone has Q/DQ, as ONNX Runtime runs them."""
    made = pair(network, placement)
    unit = next(unit for unit in made.units if unit.name == name)
    outputs = made.graph.nodes[name].output
    cut = made.cut(made.fp32)
    (image,) = draw()
    tensors = [tensor for tensor in made.graph.from_input if tensor in made.graph.producer]
    shown = run_in_onnxruntime(giving(onnx.ModelProto.FromString(
        made.fp32.SerializeToString()), *tensors), image)  # fmt: skip
    known = {"images": image, **dict(zip(tensors, shown, strict=True))}
    known = {tensor: known[tensor] for tensor in cut.crossing(cut.position(name))}
    model = UnitModels(made.fp32, made.qdq).model(unit, PRECISIONS, known)
    actual = run(model, known, len(outputs))
    expected = {
        "int8": made.quantized({name}),
        "int8_weights": made.quantized({name}, activations=False),
        "int8_activations": made.quantized({name}, weights=False),
        "float": made.quantized({}),
    }
    assert list(actual) == list(PRECISIONS)
    for precision, proto in expected.items():
        reference = run_in_onnxruntime(giving(proto, *outputs), image)
        for one, other in zip(actual[precision], reference, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())
    has_weights = name in made.points.weighted_nodes
    moved = {label for label in actual if any(
        (one != other).any() for one, other in zip(actual[label], actual["float"], strict=True)
    )}  # fmt: skip
    assert moved == {"int8", "int8_activations", *(["int8_weights"] if has_weights else [])}


def test_ranges_are_the_models_and_not_those_of_the_network_that_is_walked(pair, draw):
    """Values of a Q/DQ network have the dequantized input of the other calibration."""
    made = pair(block)
    unit = made.units[0]
    (image,) = draw()
    known = {"images": image, "images/dequantized": np.zeros_like(image)}
    models = UnitModels(made.fp32, made.qdq)
    actual = run(models.model(unit, {"one": "int8"}, known), known)
    expected = run(models.model(unit, {"one": "int8"}, {"images": image}), {"images": image})
    np.testing.assert_array_equal(actual["one"], expected["one"])


def test_neither_form_of_the_network_is_changed(pair, draw):
    made = pair(block)
    qdq = made.qdq
    before = made.fp32.SerializeToString(), qdq.SerializeToString()
    UnitModels(made.fp32, qdq).model(made.units[0], PRECISIONS, {"images": draw()[0]})
    assert (made.fp32.SerializeToString(), qdq.SerializeToString()) == before


def test_outputs_by_label():
    assert labelled(["a", "b"], 1) == {"a": ("a",), "b": ("b",)}
    assert labelled(["a", "x", "b", "y"], 2) == {"a": ("a", "x"), "b": ("b", "y")}
