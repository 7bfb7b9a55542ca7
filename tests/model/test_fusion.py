"""Fused layers: which tensors vanish."""

from __future__ import annotations

import numpy as np
import pytest

from bench.model.fusion import convolution_behind, fused_tensors, taken_sums
from bench.model.graph import Graph


@pytest.mark.parametrize(
    ("name", "vanished"),
    [
        ("classifier", {"stem_out", "down_out"}),
        # The sum is taken into block2, which comes later; the stem's activation stays.
        ("residual", {"stem_out", "block1_out", "block2_out", "join_out"}),
        (
            "silu_concat",
            {
                *("stem_out", "silu0_sigmoid_out", "left_out", "silu1_sigmoid_out", "right_out"),
                *("silu2_sigmoid_out", "fuse_out", "silu3_sigmoid_out"),
            },
        ),
        ("depthwise", {"stem_out", "depthwise_out", "pointwise_out"}),
    ],
)
def test_fused(tiny, name: str, vanished: set[str]) -> None:
    assert fused_tensors(Graph(tiny(name))) == vanished


def test_what_somebody_else_reads_stays(load, sketch) -> None:
    g = sketch()
    x = g.conv("images", 3, 4, "stem")
    one = g.op("Relu", x, name="relu")
    two = g.op("Sigmoid", x, name="sigmoid")
    both = g.op("Concat", one, two, name="both", axis=1)
    graph = Graph(load(g.model(g.conv(both, 8, 2, "last"))))
    assert fused_tensors(graph) == set()


def test_an_output_of_the_network_stays(load, sketch) -> None:
    g = sketch()
    x = g.conv("images", 3, 4, "stem")
    graph = Graph(load(g.model(x, g.op("Relu", x, name="relu"))))
    assert fused_tensors(graph) == set()


def test_mish_is_one_gate(load, sketch) -> None:
    g = sketch()
    x = g.conv("images", 3, 4, "stem")
    soft = g.op("Tanh", g.op("Softplus", x, name="plus"), name="tanh")
    x = g.op("Mul", x, soft, name="mish")
    graph = Graph(load(g.model(g.conv(x, 4, 2, "last"))))
    assert fused_tensors(graph) == {"stem_out", "plus_out", "tanh_out"}


def test_pointwise_layers_in_a_row_are_one(load, sketch) -> None:
    g = sketch()
    x = g.op("Mul", "images", g.const(np.float32(2)), name="scaled")
    x = g.op("Clip", x, g.const(np.float32(0)), g.const(np.float32(1)), name="clipped")
    graph = Graph(load(g.model(g.conv(x, 3, 2, "last"))))
    assert fused_tensors(graph) == {"scaled_out"}


def test_of_two_convolutions_one_takes_the_sum(load, sketch) -> None:
    g = sketch()
    one, two = g.conv("images", 3, 4, "one"), g.conv("images", 3, 4, "two")
    x = g.op("Relu", g.op("Add", one, two, name="sum"), name="relu")
    graph = Graph(load(g.model(g.conv(x, 4, 2, "last"))))
    assert fused_tensors(graph) == {"two_out", "sum_out"}


# --- sums that a convolution takes in -------------------------------------------------------------


def test_the_residual_is_the_side_without_a_convolution(tiny) -> None:
    assert taken_sums(Graph(tiny("residual"))) == {"join": "block2_out"}
    assert taken_sums(Graph(tiny("classifier"))) == {}


@pytest.mark.parametrize("shortcut_last", [True, False])
def test_a_convolution_on_the_shortcut_is_the_residual(load, sketch, shortcut_last: bool) -> None:
    """As in ResNet where the channels change, whatever the order of the nodes and inputs."""
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")

    def shortcut() -> str:
        return g.conv(x, 4, 8, "shortcut", 1)

    side = "" if shortcut_last else shortcut()
    main = g.conv(g.op("Relu", g.conv(x, 4, 8, "one"), name="relu1"), 8, 8, "two")
    side = side or shortcut()
    total = g.op("Add", *((main, side) if shortcut_last else (side, main)), name="total")
    graph = Graph(load(g.model(g.conv(total, 8, 2, "last"))))
    assert taken_sums(graph) == {"total": "two_out"}


def test_a_convolution_cannot_take_in_what_is_computed_from_it(load, sketch) -> None:
    """MobileNetV2's first block of a stage ends in a convolution, which its second one reads."""
    g = sketch()
    x = g.conv("images", 3, 4, "stem")
    wide = g.op("Clip", g.conv(x, 4, 8, "expand", 1), name="relu6")
    total = g.op("Add", x, g.conv(wide, 8, 4, "project", 1), name="total")
    halved = g.op("MaxPool", total, name="pool", kernel_shape=[2, 2], strides=[2, 2])
    stem = g.conv(halved, 4, 4, "next")
    pooled = g.op("AveragePool", stem, name="average", kernel_shape=[3, 3], pads=[1] * 4)
    neither = g.op("Add", stem, pooled, name="neither")
    graph = Graph(load(g.model(g.conv(neither, 4, 2, "last"))))
    assert taken_sums(graph) == {"total": "project_out"}


def test_an_activation_function_in_front_of_the_sum_belongs_to_the_convolution(
    load, sketch
) -> None:
    """The bottleneck of YOLOv8: x + SiLU(Conv(SiLU(Conv(x))))."""
    g = sketch()
    x = g.silu(g.conv("images", 3, 4, "stem"), "silu0")
    y = g.silu(g.conv(g.silu(g.conv(x, 4, 4, "one"), "silu1"), 4, 4, "two"), "silu2")
    graph = Graph(load(g.model(g.conv(g.op("Add", x, y, name="total"), 4, 2, "last"))))
    assert taken_sums(graph) == {"total": "silu2_out"}
    for tensor in ("two_out", "silu2_sigmoid_out", "silu2_out"):
        assert convolution_behind(tensor, graph) == "two"
    assert convolution_behind("total_out", graph) is None
    assert convolution_behind("images", graph) is None


def test_a_matrix_product_takes_in_no_sum(load, sketch) -> None:
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    product = g.op("MatMul", x, g.const(g.normal(16, 16)), name="product")
    total = g.op("Add", x, product, name="total")
    graph = Graph(load(g.model(g.conv(total, 4, 2, "last"))))
    assert graph.residual_adds == ("total",)
    assert taken_sums(graph) == {}
