"""Reading the graph: first, head, depthwise, residual additions, multiply-accumulates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.errors import ModelError
from bench.model.graph import Graph, attribute


@pytest.fixture
def graph(tiny) -> Any:
    return lambda name: Graph(tiny(name))


# --- compute, first, depthwise --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "compute", "first", "depthwise"),
    [
        ("classifier", ("stem", "down", "fc"), {"stem"}, set()),
        ("residual", ("stem", "block1", "block2", "fc"), {"stem"}, set()),
        ("silu_concat", ("stem", "left", "right", "fuse", "out"), {"stem"}, set()),
        ("depthwise", ("stem", "depthwise", "pointwise", "fc"), {"stem"}, {"depthwise"}),
        ("distribution", ("stem", "neck", "box_out", "dfl", "class_out"), {"stem"}, set()),
        ("old_opset", ("stem", "fc"), {"stem"}, set()),
        ("matmul", ("stem", "mix", "attend"), {"stem"}, set()),
        ("upsampling", ("stem", "up"), {"stem"}, set()),
    ],
)
def test_compute_first_depthwise(graph, name, compute, first, depthwise):
    g = graph(name)
    assert g.compute == compute
    assert g.first == first
    assert g.depthwise == depthwise


def test_two_branches_that_both_read_the_input(load, sketch):
    g = sketch()
    scaled = g.op("Mul", "images", g.const(np.float32(2)), name="scaled")
    left = g.conv(scaled, 3, 4, "left")
    right = g.conv("images", 3, 4, "right")
    x = g.op("Add", left, right, name="join")
    found = Graph(load(g.model(g.conv(x, 4, 2, "last"))))
    assert found.first == {"left", "right"}  # not "scaled", which computes nothing
    assert found.residual_adds == ("join",)


def test_grouped_convolution_is_depthwise_only_with_one_channel_a_group(load, sketch):
    g = sketch()
    x = g.conv("images", 3, 8, "stem")
    x = g.conv(x, 8, 8, "grouped", group=4)
    x = g.conv(x, 8, 16, "multiplied", group=8)  # two outputs from every channel
    assert Graph(load(g.model(g.conv(x, 16, 2, "last")))).depthwise == {"multiplied"}


def test_a_product_of_constants_is_no_compute_node(load, sketch):
    g = sketch()
    shape = g.op("Shape", "images", name="shape")
    number = g.op("Cast", g.op("Gather", shape, g.const(np.array(2)), name="side"), to=1)
    row = g.op("Reshape", number, g.const(np.array([1, 1])), name="row")
    side = g.op("MatMul", row, g.const(np.ones((1, 1), np.float32)), name="sides")
    x = g.op("Mul", g.conv("images", 3, 4, "stem"), side, name="scaled")
    assert Graph(load(g.model(x))).compute == ("stem",)


# --- head -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "in_head", "outside"),
    [
        ("classifier", {"fc"}, {"flatten", "down", "relu2"}),
        ("silu_concat", {"out"}, {"silu3", "fuse"}),
        ("upsampling", {"up"}, {"relu", "stem"}),
        ("matmul", {"attend"}, {"turned", "mix"}),
    ],
)
def test_head_is_the_last_compute_node(graph, name, in_head, outside):
    head = graph(name).head
    assert head >= in_head
    assert not head & outside


def test_head_of_a_distribution_layer(graph):
    """The DFL's fixed convolution only decodes: the convolutions that feed it are the head."""
    head = graph("distribution").head
    assert head >= {"box_out", "class_out", "dfl", "softmax", "scores", "sum_of_corners"}
    assert not head & {"neck", "silu1", "stem"}


@pytest.mark.parametrize("activation", ["Softmax", "Sigmoid"])
def test_only_a_softmax_makes_a_distribution_layer(load, sketch, activation):
    g = sketch()
    x = g.op(activation, g.conv("images", 3, 8, "before"), name="activation")
    x = g.op("Identity", x, name="moved")
    x = g.conv(x, 8, 1, "one_channel", 1)
    head = Graph(load(g.model(x))).head
    assert "one_channel" in head
    assert ("before" in head) == (activation == "Softmax")


def test_every_output_has_a_head(load, sketch):
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    model = g.model(g.conv(x, 4, 2, "boxes"), g.conv(x, 4, 2, "classes"))
    found = Graph(load(model))
    assert found.output_names == ("boxes_out", "classes_out")
    assert found.head == {"boxes", "classes"}


# --- residual additions ---------------------------------------------------------------------------


def test_residual_add(graph):
    assert graph("residual").residual_adds == ("join",)


def test_additions_that_only_decode_are_none(graph):
    """YOLOv8's tail adds two activations of one shape; nothing computes behind it."""
    g = graph("distribution")
    addition = g.nodes["sum_of_corners"]
    assert g.shape(addition.input[0]) == g.shape(addition.input[1])
    assert g.residual_adds == ()


def test_additions_of_constants_and_of_other_shapes_are_none(load, sketch):
    g = sketch()
    x = g.conv("images", 3, 4, "stem")
    x = g.op("Add", x, g.const(np.ones((1, 4, 1, 1), np.float32)), name="constant")
    x = g.op("Relu", x, name="relu")
    pooled = g.op("GlobalAveragePool", x, name="pool")
    x = g.op("Add", x, pooled, name="broadcast")
    x = g.op("Add", x, x, name="twice")
    assert Graph(load(g.model(g.conv(x, 4, 2, "last")))).residual_adds == ("twice",)


# --- multiply-accumulates -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "node", "macs"),
    [
        ("classifier", "stem", 16 * 16 * 8 * 3 * 9),
        ("classifier", "down", 8 * 8 * 16 * 8 * 9),  # stride 2 halves both sides
        ("classifier", "fc", 16 * 5),  # Gemm, transB=1
        ("gemm_untransposed", "fc", 8 * 6),  # Gemm, transB=0
        ("depthwise", "depthwise", 16 * 16 * 8 * 1 * 9),
        ("depthwise", "pointwise", 16 * 16 * 16 * 8),
        ("matmul", "mix", 16 * 8 * 12),
        ("matmul", "attend", 12 * 16 * 12),
        ("upsampling", "up", 8 * 8 * 8 * 4 * 2 * 2),  # every input pixel meets the whole kernel
        ("distribution", "dfl", 4 * 4 * 16),
    ],
)
def test_macs(graph, name, node, macs):
    assert graph(name).macs(node) == macs


def test_macs_of_groups(load, sketch):
    g = sketch()
    x = g.conv("images", 3, 8, "stem")
    found = Graph(load(g.model(g.conv(x, 8, 12, "grouped", group=4))))
    assert found.macs("grouped") == 16 * 16 * 12 * (8 // 4) * 9


def test_macs_of_gemm_with_the_first_matrix_transposed(load, sketch):
    g = sketch()
    x = g.op("Reshape", "images", g.const(np.array([32, 24])), name="matrix")
    x = g.op("Gemm", x, g.const(np.ones((32, 5), np.float32)), name="fc", transA=1)
    assert Graph(load(g.model(x, batch=1))).macs("fc") == 24 * 5 * 32


# --- tensors --------------------------------------------------------------------------------------


def test_shape_of_activations_and_weights(graph):
    g = graph("classifier")
    assert g.shape("images") == (1, 3, 16, 16)
    assert g.shape("down_out") == (1, 16, 8, 8)
    assert g.shape("fc.w") == (5, 16)
    np.testing.assert_array_equal(g.weight("fc.w").shape, (5, 16))
    with pytest.raises(ModelError, match="shape of tensor 'nonsense' cannot be inferred"):
        g.shape("nonsense")


def test_activations_are_floats_that_depend_on_the_input(load, sketch):
    g = sketch()
    x = g.conv("images", 3, 4, "stem")
    best = g.op("ArgMax", x, name="best", axis=1)
    shape = g.op("Shape", x, name="shape")
    g.op("Cast", shape, name="shape_as_float", to=1)
    found = Graph(load(g.model(x, best, "shape_as_float_out")))
    assert found.is_activation("images")
    assert found.is_activation("stem_out")
    assert not found.is_activation("best_out")  # depends on the input, but is int64
    assert not found.is_activation("shape_as_float_out")
    assert not found.is_activation("stem.w")
    assert not found.is_activation("")


def test_attribute(graph):
    node = graph("depthwise").nodes["depthwise"]
    assert attribute(node, "group", 1) == 8
    assert attribute(node, "auto", 7) == 7


# --- tensors whose values are those of others -----------------------------------------------------


def test_parts(load, sketch):
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    left, right = g.op("Split", x, g.const(np.array([2, 2])), name="cut", outputs=2, axis=1)
    moved = g.op("Reshape", right, g.const(np.array([1, 512])), name="moved")
    again = g.op("Sigmoid", moved, name="again")
    back = g.op("Reshape", again, g.const(np.array([1, 2, 16, 16])), name="back")
    both = g.op("Concat", left, back, x, name="both", axis=1)
    padded = g.op(
        "Concat", both, g.const(np.zeros((1, 1, 16, 16), np.float32)), name="padded", axis=1
    )
    graph = Graph(load(g.model(g.conv(padded, 9, 2, "last"), batch=1)))
    assert graph.parts("images") == ("images",)
    assert graph.parts("relu_out") == ("cut_out0", "cut_out1")
    assert graph.parts("moved_out") == ("cut_out1",)
    assert graph.parts("again_out") == ("again_out",)
    assert graph.parts("both_out") == ("cut_out0", "again_out", "cut_out0", "cut_out1")
    assert graph.parts("padded_out") == ("padded_out",)  # a constant has values of its own
