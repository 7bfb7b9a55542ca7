"""The Q/DQ file: where pairs stand, on which grids values lie, and how close it stays to FP32."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from bench.errors import ModelError
from bench.model.edit import with_batch
from bench.model.graph import Graph
from bench.quantization.plan import Placement, PrecisionPlan, place
from bench.quantization.qdq import insert_qdq
from bench.quantization.weight_scales import WeightScales, output_axis

INT32_MAX = 2**31 - 1
placements = pytest.mark.parametrize("placement", get_args(Placement))


# --- structure ------------------------------------------------------------------------------------


@placements
def test_every_tensor_has_one_pair_whatever_its_consumers(tiny_name, tiny, quantize, placement):
    q = quantize(tiny(tiny_name), placement=placement)
    quantizers = [n for n in q.proto.graph.node if n.op_type == "QuantizeLinear"]
    assert Counter(n.input[0] for n in quantizers) == Counter(q.points.tensors)
    for node in quantizers:
        readers = [n for n in q.proto.graph.node if node.output[0] in n.input]
        assert [n.op_type for n in readers] == ["DequantizeLinear"]
        assert readers[0].input[1:] == node.input[1:]
    for edge in q.points.edges:
        pair = q.producer(q.node(edge.node).input[edge.index])
        assert pair.op_type == "DequantizeLinear"
        assert q.producer(pair.input[0]).input[0] == edge.tensor


def test_a_tensor_with_two_consumers_shares_its_pair(tiny, quantize):
    q = quantize(tiny("residual"))
    assert q.node("block1").input[0] == q.node("join").input[1]


@placements
def test_the_file_is_valid_and_the_model_is_untouched(tiny_name, tiny, quantize, placement):
    before = tiny(tiny_name).proto.SerializeToString()
    q = quantize(tiny(tiny_name), placement=placement)
    onnx.checker.check_model(q.proto, full_check=True)
    assert tiny(tiny_name).proto.SerializeToString() == before
    assert [o.name for o in q.proto.graph.output] == list(q.model.output_names)
    assert [i.name for i in q.proto.graph.input] == ["images"]
    names = [node.name for node in q.proto.graph.node]
    assert len(set(names)) == len(names)


def test_no_float_weights_are_left_beside_the_int8_ones(tiny, quantize):
    q = quantize(tiny("residual"))
    stored = {t.name: t.data_type for t in q.proto.graph.initializer}
    assert not {"stem.w", "block1.w", "block2.w", "fc.w"} & set(stored)
    read = {name for node in q.proto.graph.node for name in node.input}
    assert set(stored) <= read
    assert len(stored) == len(q.proto.graph.initializer)


def test_nodes_kept_in_float_are_untouched(tiny, quantize):
    q = quantize(tiny("residual"), ("name:block1",))
    original = q.graph.nodes["block1"]
    assert q.node("block1").input == original.input
    np.testing.assert_array_equal(q.stored("block1.w"), q.graph.weight("block1.w"))
    np.testing.assert_array_equal(q.stored("block1.b"), q.graph.weight("block1.b"))
    for node in q.proto.graph.node:
        if node.op_type in ("Relu", "Flatten", "GlobalAveragePool"):
            assert node == q.graph.nodes[node.name]


def test_attributes_stay(tiny, quantize):
    q = quantize(tiny("depthwise"))
    for name in q.graph.compute:
        given, before = q.node(name).attribute, q.graph.nodes[name].attribute
        assert [own for own in given if own.name != "kernel_shape"] == list(before)


def test_a_quantized_convolution_declares_its_kernel(load, sketch, quantize):
    """Its weights are no initializer any more: TensorRT's parsers up to 10.1 ask for the shape."""
    g = sketch()
    x = g.conv("images", 3, 4, "stem", k=3)
    x = g.conv(x, 4, 4, "declared", k=1, kernel_shape=[1, 1])
    x = g.op("Relu", x, name="relu")
    weight = g.const(g.normal(4, 2, 2, 5, fan_in=16), "up.w")
    x = g.op("ConvTranspose", x, weight, name="up", strides=[2, 2])
    q = quantize(load(g.model(g.conv(x, 2, 4, "float"))), ("name:^float$",))
    kernels = {
        node.name: [list(own.ints) for own in node.attribute if own.name == "kernel_shape"]
        for node in q.proto.graph.node
        if node.op_type in ("Conv", "ConvTranspose")
    }
    assert kernels == {"stem": [[3, 3]], "declared": [[1, 1]], "up": [[2, 5]], "float": []}


def test_a_missing_range_is_named(tiny):
    model = tiny("classifier")
    graph = Graph(model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    with pytest.raises(ModelError, match="no range was calibrated for relu1_out, flatten_out"):
        insert_qdq(model, graph, points, {"images": 1.0})


def test_weights_that_two_nodes_share(load, sketch, quantize):
    g = sketch()
    shared = g.const(g.normal(4, 4, 3, 3, fan_in=36), "shared.w")
    x = g.conv("images", 3, 4, "stem")
    x = g.op("Conv", x, shared, name="one", pads=[1] * 4)
    x = g.op("Conv", g.op("Relu", x, name="relu"), shared, name="two", pads=[1] * 4)
    q = quantize(load(g.model(x)), ("name:^two$",))
    values, scales, _, _ = q.dequantize(q.node("one").input[1])
    assert values.dtype == np.int8
    assert len(scales) == 4
    assert q.node("two").input[1] == "shared.w"
    np.testing.assert_array_equal(q.stored("shared.w"), q.graph.weight("shared.w"))


def test_weights_that_only_a_branch_reads_stay(load, sketch, quantize, images, run_in_onnxruntime):
    """A subgraph sees the weights of the graph around it."""
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    g.const(np.float32([2, 3, 4, 5]).reshape(4, 1, 1), "outer")
    branches = {
        key: helper.make_graph(
            [helper.make_node(kind, [x, "outer"], [kind], name=kind)],
            kind,
            [],
            [helper.make_tensor_value_info(kind, onnx.TensorProto.FLOAT, None)],
        )
        for key, kind in (("then_branch", "Mul"), ("else_branch", "Add"))
    }
    mean = g.op("ReduceMean", "images", name="mean", keepdims=0)
    bright = g.op("Greater", mean, g.const(np.float32(0.5)), name="bright")
    x = g.op("If", bright, name="if", **branches)
    q = quantize(load(g.model(g.conv(x, 4, 2, "last"))))
    expected = run_in_onnxruntime(q.model.proto, images())[0]
    found = run_in_onnxruntime(q.proto, images())[0]
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


# --- activations ----------------------------------------------------------------------------------


@placements
def test_activation_scales_are_amax_over_127_and_zero_points_zero(tiny, quantize, placement):
    q = quantize(tiny("silu_concat"), placement=placement)
    for node in q.proto.graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = (q.stored(name) for name in node.input[1:])
            assert scale.shape == zero.shape == ()
            assert scale == np.float32(q.amax[node.input[0]] / 127)
            assert zero.dtype == np.int8
            assert zero == 0
    assert q.amax["images"] == pytest.approx(1, abs=0.02)


def test_asymmetric_ranges_spend_no_step_where_nothing_is(
    tiny, quantize, images, run_in_onnxruntime, sqnr
):
    """A SiLU's output is never below -0.28: uint8 from there up rounds twice as finely."""
    model = tiny("silu_concat")
    symmetric = quantize(model)
    ranges = {
        name: (0.0 if name == "images" else -0.279, amax) for name, amax in symmetric.amax.items()
    }
    proto = insert_qdq(model, symmetric.graph, symmetric.points, ranges)
    onnx.checker.check_model(proto, full_check=True)
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert stored["silu0_out/zero_point"].dtype == np.uint8
    assert stored["silu0_out/zero_point"] > 0
    assert stored["images/zero_point"] == 0
    x = images(seed=100)
    expected = run_in_onnxruntime(model.proto, x)
    found = run_in_onnxruntime(proto, x)
    assert sqnr(expected, found) > sqnr(expected, run_in_onnxruntime(symmetric.proto, x)) + 2


def test_weights_per_tensor_share_one_scale(tiny, quantize):
    q = quantize(tiny("classifier"))
    proto = insert_qdq(q.model, q.graph, q.points, q.amax, WeightScales("per_tensor"))
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    assert len(set(stored["stem/weight/scale"].tolist())) == 1
    assert np.abs(stored["stem/weight/quantized"]).max() == 127


@pytest.mark.parametrize("amax", [0.0, 1e-44, 1e-30])
def test_a_silent_tensor_gets_a_scale_that_can_be_divided_by(tiny, amax):
    model = tiny("classifier")
    graph = Graph(model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    proto = insert_qdq(model, graph, points, dict.fromkeys(points.tensors, amax))
    for tensor in proto.graph.initializer:
        if tensor.name.endswith("scale"):
            scales = numpy_helper.to_array(tensor)
            assert (scales >= np.finfo(np.float32).tiny).all()
            assert np.isfinite(scales).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_quantization_error_is_half_a_step_and_clipping(
    sketch, load, run_in_onnxruntime, seed, amax, spread
):
    """A pair clips to [-amax, amax] and rounds to 255 steps, as ONNX Runtime runs it."""
    g = sketch()
    identity = g.const(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "identity")
    model = load(g.model(g.op("Conv", "images", identity, name="conv"), batch=1))
    graph = Graph(model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    proto = insert_qdq(model, graph, points, {"images": amax})
    x = np.random.default_rng(seed).normal(0, amax * spread / 3, (1, 3, 16, 16)).astype(np.float32)
    x.flat[:4] = amax, -amax, 0, 2 * amax
    (found,) = run_in_onnxruntime(proto, x, optimized=False)
    step = amax / 127
    inside = np.abs(x) <= amax
    assert np.abs(found - x)[inside].max() <= step / 2 * (1 + 1e-3)
    np.testing.assert_allclose(found[x > amax], amax, rtol=1e-4)
    below = found[x < -amax]
    assert (below <= -amax * (1 - 1e-4)).all()
    assert (below >= -amax - step * (1 + 1e-3)).all()  # int8 has one step more on this side


# --- weights --------------------------------------------------------------------------------------

WEIGHTED = [
    ("classifier", "stem", 0),
    ("depthwise", "depthwise", 0),
    ("classifier", "fc", 0),  # Gemm, transB=1
    ("gemm_untransposed", "fc", 1),
    ("matmul", "mix", 1),
    ("upsampling", "up", 1),
]


@pytest.mark.parametrize(("name", "node", "axis"), WEIGHTED)
def test_weights_are_per_output_channel_within_half_a_step(tiny, quantize, name, node, axis):
    q = quantize(tiny(name))
    values, scales, zeros, stored_axis = q.dequantize(q.node(node).input[1])
    weight = q.graph.weight(q.graph.nodes[node].input[1])
    assert stored_axis == axis == output_axis(q.graph.nodes[node], weight.ndim)
    assert values.dtype == zeros.dtype == np.int8
    assert values.shape == weight.shape
    assert (zeros == 0).all()
    assert scales.shape == zeros.shape == (weight.shape[axis],)
    assert scales.dtype == np.float32
    others = tuple(i for i in range(weight.ndim) if i != axis)
    np.testing.assert_allclose(scales, np.abs(weight).max(axis=others) / 127, rtol=1e-6)
    assert (np.abs(values).max(axis=others) == 127).all()
    steps = np.expand_dims(scales.astype(np.float64), others)
    assert (np.abs(values * steps - weight) <= steps * 0.5001).all()


def test_a_channel_of_zeros(load, sketch, quantize):
    g = sketch()
    weight = g.normal(4, 3, 3, 3)
    weight[2] = 0
    g.const(weight, "w")
    q = quantize(load(g.model(g.op("Conv", "images", "w", name="conv"))))
    values, scales, _, _ = q.dequantize(q.node("conv").input[1])
    assert (values[2] == 0).all()
    assert scales[2] == 1
    assert (scales > 0).all()


def test_weight_scales_of_tiny_weights_stay_normal_numbers():
    weight = np.array([[1e-40, 0], [127, 1]], np.float32)
    scales = WeightScales()(weight, 0).astype(np.float32)
    assert scales[0] == np.finfo(np.float32).tiny
    assert scales[1] == 1


# --- bias -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "node"), [("residual", "block1"), ("classifier", "fc"), ("upsampling", "up")]
)
def test_bias_lies_on_the_grid_of_the_products(tiny, quantize, name, node):
    q = quantize(tiny(name))
    _, scales, _, _ = q.dequantize(q.node(node).input[1])
    tensor = q.graph.nodes[node].input[0]
    input_scale = q.stored(f"{tensor}/scale")
    step = scales.astype(np.float64) * input_scale.astype(np.float64)
    bias, stored = q.graph.weight(f"{node}.b"), q.stored(q.node(node).input[2])
    assert stored.dtype == np.float32
    counts = stored / step
    np.testing.assert_allclose(counts, np.rint(counts), atol=0.01)
    assert (np.abs(stored - bias) <= step * 0.501).all()


@pytest.mark.parametrize("factor", [1e-9, 1e-12, 1e-20, 0])
def test_a_nearly_dead_channel_with_a_big_bias_stays_within_int32(load, sketch, factor):
    g = sketch()
    weight = g.normal(4, 3, 3, 3)
    weight[1] *= factor
    bias = np.float32([0.3, -50, 0, 1])
    g.const(weight, "w")
    g.const(bias, "b")
    model = load(g.model(g.op("Conv", "images", "w", "b", name="conv")))
    graph = Graph(model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    proto = insert_qdq(model, graph, points, {"images": 1.0})
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    scales = stored["conv/weight/scale"].astype(np.float64)
    step = scales * float(stored["images/scale"])
    counts = stored["conv/bias/on_grid"] / step
    assert (np.abs(counts) <= INT32_MAX).all()
    np.testing.assert_allclose(stored["conv/bias/on_grid"], bias, rtol=1e-6, atol=step.max())
    largest = np.abs(weight).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(scales[[0, 2, 3]], largest[[0, 2, 3]], rtol=1e-6)


def test_a_bias_that_broadcasts_in_two_dimensions_stays(load, sketch, quantize):
    g = sketch()
    x = g.op("Flatten", g.op("GlobalAveragePool", "images", name="pool"), name="flat")
    g.const(g.normal(3, 4), "w")
    bias = g.const(g.normal(1, 4), "b")
    q = quantize(load(g.model(g.op("Gemm", x, "w", bias, name="fc"))))
    np.testing.assert_array_equal(q.stored(q.node("fc").input[2]), q.graph.weight("b"))


# --- the whole ------------------------------------------------------------------------------------


@placements
def test_outputs_stay_close_to_fp32(
    tiny_name, tiny, quantize, images, run_in_onnxruntime, sqnr, placement
):
    q = quantize(tiny(tiny_name), placement=placement)
    x = images(seed=100)
    expected = run_in_onnxruntime(q.model.proto, x)
    assert sqnr(expected, run_in_onnxruntime(q.proto, x)) > 25


def test_a_plan_in_float_loses_less(tiny, quantize, images, run_in_onnxruntime, sqnr):
    model, x = tiny("silu_concat"), images(seed=100)
    expected = run_in_onnxruntime(model.proto, x)
    noise = [
        sqnr(expected, run_in_onnxruntime(quantize(model, plan).proto, x))
        for plan in ((), ("first",), ("name:stem|left|right|fuse",))
    ]
    assert noise[1] > noise[0]
    assert noise[2] > noise[1]


def test_any_batch_can_be_fixed_afterwards(tiny, quantize, images, run_in_onnxruntime):
    q = quantize(tiny("residual"))
    x = images(3, seed=5)
    together = run_in_onnxruntime(with_batch(q.proto, "images", 3), x)[0]
    for row in range(3):
        alone = run_in_onnxruntime(q.proto, x[row : row + 1])[0]
        np.testing.assert_allclose(together[row : row + 1], alone, atol=1e-5)
