"""The guards that keep OpenVINO from moving a quantization, or leaving its rounding out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from bench.engine.onnxrt import OnnxRuntime
from bench.engine.ov import OpenVino, guard_quantizations
from bench.model.edit import with_batch

BEHIND: dict[str, Callable[[Any, str], str]] = {
    "nothing": lambda g, x: x,
    "Relu": lambda g, x: g.op("Relu", x, name="behind"),
    "Clip": lambda g, x: g.op("Clip", x, g.const(np.float32(-1)), name="behind"),
    "Mul": lambda g, x: g.op("Mul", x, g.const(np.float32(1.3)), name="behind"),
    "Add": lambda g, x: g.op("Add", x, g.const(g.normal(16, 1, 1)), name="behind"),
    "Mul, Add, Relu": lambda g, x: g.op(
        "Relu",
        g.op("Add", g.op("Mul", x, g.const(g.normal(16, 1, 1))), g.const(g.normal(16, 1, 1))),
    ),
    "SiLU": lambda g, x: g.silu(x, "behind"),
    "MaxPool": lambda g, x: g.op("MaxPool", x, name="behind", kernel_shape=[2, 2]),
}


@pytest.fixture
def joined(load, sketch, quantize) -> Callable[..., onnx.ModelProto]:
    """A Q/DQ file in which signed activations meet in a Concat, and a convolution behind."""

    def make(behind: str, placement: str = "explicit") -> onnx.ModelProto:
        g = sketch(3)
        x = g.silu(g.conv("images", 3, 8, "stem"), "silu0")
        left = g.silu(g.conv(x, 8, 8, "left", 1), "silu1")
        right = g.silu(g.conv(x, 8, 8, "right"), "silu2")
        x = BEHIND[behind](g, g.op("Concat", left, right, name="concat", axis=1))
        x = g.silu(g.conv(x, 16, 8, "fuse"), "silu3")
        model = load(g.model(g.conv(x, 8, 4, "last", 1)))
        return with_batch(quantize(model, placement=placement).proto, "images", 1)

    return make


def guards(proto: onnx.ModelProto) -> list[str]:
    """What the guards read."""
    return [n.input[0] for n in proto.graph.node if n.name.endswith("/guarded")]


@pytest.mark.parametrize("behind", [k for k in BEHIND if k != "MaxPool"])
def test_one_guard_between_the_concat_and_its_quantization(joined, behind):
    proto = joined(behind)
    guarded = guard_quantizations(proto)
    fuse = next(n for n in proto.graph.node if n.name == "fuse")
    pair = next(n for n in proto.graph.node if fuse.input[0] in n.output)
    source = next(n for n in proto.graph.node if pair.input[0] in n.output).input[0]
    assert guards(guarded) == [source]
    whole = onnx.shape_inference.infer_shapes(guarded, strict_mode=True)
    onnx.checker.check_model(whole, full_check=True)


@pytest.mark.parametrize("placement", ["explicit", "implicit"])
@pytest.mark.parametrize("behind", BEHIND)
def test_the_guard_changes_no_value(joined, images, run_in_onnxruntime, behind, placement):
    proto = joined(behind, placement)
    before = proto.SerializeToString()
    guarded = guard_quantizations(proto)
    assert proto.SerializeToString() == before
    x = images() * 4 - 2
    for optimized in (True, False):
        expected = run_in_onnxruntime(proto, x, optimized=optimized)
        found = run_in_onnxruntime(guarded, x, optimized=optimized)
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("placement", ["explicit", "implicit"])
@pytest.mark.parametrize("behind", [k for k in BEHIND if k != "Clip"])
def test_openvino_computes_what_it_is_given(joined, images, sqnr, behind, placement, seven_bits):
    proto, x = seven_bits(joined(behind, placement)), images(seed=9)
    with OnnxRuntime(threads=1).build(proto) as session:
        expected = session.run(x)
    with OpenVino(threads=1).build(proto) as session:
        assert sqnr(expected, session.run(x)) > 35
        assert session.describe().int8_nodes == {"stem", "left", "right", "fuse", "last"}


def test_a_quantization_in_front_of_a_residual_sum_is_guarded(
    tiny, quantize, sqnr, images, seven_bits
):
    """OpenVINO takes the sum into the convolution, and would leave that rounding out."""
    q = quantize(tiny("residual"))
    (add,) = q.graph.residual_adds
    read = guards(guard_quantizations(q.proto))
    assert read
    assert set(read) <= set(q.graph.nodes[add].input)
    proto, x = seven_bits(with_batch(q.proto, "images", 1)), images(seed=4)
    with OnnxRuntime(threads=1).build_exact(proto) as session:
        expected = session.run(x)
    with OpenVino(threads=1).build(proto) as session:
        assert sqnr(expected, session.run(x)) > 45


def test_without_a_concat_or_a_sum_the_model_is_left_as_it_is(tiny, quantize):
    proto = quantize(tiny("depthwise")).proto
    assert guard_quantizations(proto) is proto


def test_a_concat_that_nothing_quantizes_is_left_as_it_is(tiny, quantize):
    model = tiny("distribution")
    assert guard_quantizations(model.proto) is model.proto
    proto = quantize(model, ("head",)).proto  # its Concats only decode
    assert guard_quantizations(proto) is proto


def test_a_convolution_between_ends_the_reach_of_a_concat(joined):
    proto = joined("nothing")
    read = guards(guard_quantizations(proto))
    assert read == ["concat_out"]  # not the input of "last", far behind
