"""Plans: which nodes stay in float, and which edges then carry Q/DQ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.quantization.plan import Edge, PrecisionPlan, place


@pytest.fixture
def graph(tiny) -> Any:
    return lambda name: Graph(tiny(name))


def plan(*selectors: str) -> PrecisionPlan:
    return PrecisionPlan("mine", selectors)


# --- selectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "selectors", "kept"),
    [
        ("classifier", [], set()),
        ("classifier", ["first"], {"stem"}),
        ("classifier", ["head"], {"fc"}),
        ("classifier", ["first", "head"], {"stem", "fc"}),
        ("depthwise", ["depthwise"], {"depthwise"}),
        ("classifier", ["depthwise"], set()),
        ("residual", ["op:Relu"], {"relu0", "relu1", "relu2"}),
        ("residual", ["name:block"], {"block1", "block2"}),
        ("residual", ["name:^relu[12]$", "first"], {"relu1", "relu2", "stem"}),
    ],
)
def test_selectors(graph, name, selectors, kept):
    assert plan(*selectors).float_nodes(graph(name)) == kept


@pytest.mark.parametrize("selector", ["op:Rel", "name:^blok"])
def test_a_selector_of_ones_own_that_matches_nothing_is_refused(graph, selector):
    with pytest.raises(ConfigError, match=r"matches no node of this model\. Check") as error:
        plan(selector).float_nodes(graph("residual"))
    assert selector in str(error.value)


@pytest.mark.parametrize("selector", ["last", "firsts", "", "op:", "name:", "op", "name"])
def test_unknown_selectors(graph, selector):
    with pytest.raises(ConfigError) as caught:
        plan(selector).float_nodes(graph("classifier"))
    text = str(caught.value)
    assert f"plan 'mine' has an unknown selector '{selector}'" in text
    assert "first, head, depthwise, op:TYPE or name:REGEX" in text


def test_a_pattern_that_is_none(graph):
    with pytest.raises(ConfigError, match=r"plan 'mine': 'conv\(' is no regular expression"):
        plan("name:conv(").float_nodes(graph("classifier"))


@pytest.mark.parametrize("placement", ["explicit", "implicit"])
def test_a_plan_that_keeps_everything_in_float(graph, placement):
    with pytest.raises(ConfigError, match="plan 'mine' keeps every layer of this model in float"):
        place(plan("op:Conv", "op:Gemm"), placement, graph("classifier"))


def test_unknown_placement(graph):
    with pytest.raises(ConfigError, match=r"placement=everywhere is unknown.* explicit or"):
        place(plan(), "everywhere", graph("classifier"))  # type: ignore[arg-type]


# --- explicit -------------------------------------------------------------------------------------


def test_explicit_edges_are_inputs_of_compute_and_both_sides_of_an_add(graph):
    points = place(plan(), "explicit", graph("residual"))
    assert set(points.edges) == {
        Edge("stem", 0, "images"),
        Edge("block1", 0, "relu0_out"),
        Edge("block2", 0, "relu1_out"),
        Edge("fc", 0, "flatten_out"),
        Edge("join", 0, "block2_out"),
        Edge("join", 1, "relu0_out"),
    }
    assert points.weighted_nodes == ("stem", "block1", "block2", "fc")
    assert sorted(points.tensors) == sorted({edge.tensor for edge in points.edges})


def test_both_inputs_of_a_product_of_activations(graph):
    points = place(plan(), "explicit", graph("matmul"))
    assert {(e.index, e.tensor) for e in points.edges if e.node == "attend"} == {
        (0, "turned_out"),
        (1, "mix_out"),
    }
    assert points.weighted_nodes == ("stem", "mix")


def test_a_kept_node_has_no_edges_and_no_weights(graph):
    points = place(plan("name:block1"), "explicit", graph("residual"))
    assert "block1" not in {edge.node for edge in points.edges} | set(points.weighted_nodes)
    assert Edge("join", 1, "relu0_out") in points.edges  # which block1 reads in float
    without_add = place(plan("op:Add"), "explicit", graph("residual"))
    assert "join" not in {edge.node for edge in without_add.edges}


def test_keeping_the_head_leaves_the_decode_tail_alone(graph):
    points = place(plan("head"), "implicit", graph("distribution"))
    assert not {edge.node for edge in points.edges} & {"dfl", "box_out", "softmax", "pixels", "low"}
    assert "neck" in {edge.node for edge in points.edges}


# --- implicit -------------------------------------------------------------------------------------


def test_implicit_edges_are_every_activation(graph):
    g = graph("residual")
    points = place(plan(), "implicit", g)
    wanted = {
        Edge(name, index, tensor)
        for name, node in g.nodes.items()
        for index, tensor in enumerate(node.input)
        if tensor not in g.weights
    }
    assert set(points.edges) == wanted
    assert set(points.tensors) == {"images"} | {
        node.output[0] for name, node in g.nodes.items() if name != "fc"
    }


def test_implicit_leaves_shapes_and_indices_alone(load, sketch):
    g = sketch()
    x = g.conv("images", 3, 4, "stem")
    shape = g.op("Shape", x, name="shape")
    x = g.op("Reshape", g.op("Relu", x, name="relu"), shape, name="reshape")
    found = Graph(load(g.model(g.conv(x, 4, 2, "last"))))
    tensors = place(plan(), "implicit", found).tensors
    assert set(tensors) <= {"images", "stem_out", "relu_out", "reshape_out"}


@pytest.mark.parametrize("placement", ["explicit", "implicit"])
def test_tensors_come_once_in_the_order_of_use(tiny_name, graph, placement):
    points = place(plan(), placement, graph(tiny_name))
    first_use = [edge.tensor for edge in points.edges]
    assert list(points.tensors) == sorted(set(first_use), key=first_use.index)


# --- share of multiply-accumulates ----------------------------------------------------------------


def test_mac_share(graph):
    g = graph("classifier")
    assert place(plan(), "explicit", g).mac_share(g) == 1
    stem, down, fc = 16 * 16 * 8 * 27, 8 * 8 * 16 * 72, 80
    share = place(plan("first"), "explicit", g).mac_share(g)
    assert share == pytest.approx((down + fc) / (stem + down + fc))
    implicit = place(plan("first"), "implicit", g).mac_share(g)
    np.testing.assert_allclose(implicit, share)
