"""Fused layers: which tensors vanish."""

from __future__ import annotations

import numpy as np
import pytest

from bench.model.fusion import fused_tensors
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
