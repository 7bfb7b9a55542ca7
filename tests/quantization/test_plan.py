"""Plans: which nodes stay in float, and which edges then carry Q/DQ."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.model.fusion import fused_tensors
from bench.model.graph import Graph
from bench.quantization.plan import IMPLICIT, Edge, Placement, PrecisionPlan, place

placements = pytest.mark.parametrize("placement", get_args(Placement))
implicit = pytest.mark.parametrize("placement", sorted(IMPLICIT))


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
        ("classifier", ["node:fc"], {"fc"}),
        ("classifier", ["depthwise"], set()),
        ("residual", ["op:Relu"], {"relu0", "relu1", "relu2"}),
        ("residual", ["name:block"], {"block1", "block2"}),
        ("residual", ["name:^relu[12]$", "first"], {"relu1", "relu2", "stem"}),
    ],
)
def test_selectors(graph, name, selectors, kept):
    assert plan(*selectors).float_nodes(graph(name)) == kept


@pytest.mark.parametrize("selector", ["op:Rel", "name:^blok", "node:rel"])
def test_a_selector_of_ones_own_that_matches_nothing_is_refused(graph, selector):
    with pytest.raises(ConfigError, match=r"matches no node of this model\. Check") as error:
        plan(selector).float_nodes(graph("residual"))
    assert selector in str(error.value)


@pytest.mark.parametrize("selector", ["last", "firsts", "", "op:", "name:", "node:", "op", "name"])
def test_unknown_selectors(graph, selector):
    with pytest.raises(ConfigError) as caught:
        plan(selector).float_nodes(graph("classifier"))
    text = str(caught.value)
    assert f"plan 'mine' has an unknown selector '{selector}'" in text
    assert "first, head, depthwise, narrow, op:TYPE, name:REGEX or node:NAME" in text


def test_a_pattern_that_is_none(graph):
    with pytest.raises(ConfigError, match=r"plan 'mine': 'conv\(' is not a regular expression"):
        plan("name:conv(").float_nodes(graph("classifier"))


@placements
def test_a_plan_that_keeps_everything_in_float(graph, placement):
    with pytest.raises(ConfigError, match="plan 'mine' keeps every layer of this model in float"):
        place(plan("op:Conv", "op:Gemm"), placement, graph("classifier"))


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


# --- explicit_residual ----------------------------------------------------------------------------


def test_of_a_residual_add_only_the_residual_is_quantized(graph):
    both = place(plan(), "explicit", graph("residual"))
    points = place(plan(), "explicit_residual", graph("residual"))
    assert set(both.edges) - set(points.edges) == {Edge("join", 0, "block2_out")}
    assert set(points.edges) < set(both.edges)
    assert points.weighted_nodes == both.weighted_nodes
    assert "block2_out" not in points.sources


@pytest.mark.parametrize("name", ["classifier", "depthwise", "silu_concat", "matmul"])
def test_without_a_residual_add_the_explicit_placements_are_one(graph, name):
    g = graph(name)
    assert place(plan(), "explicit_residual", g) == place(plan(), "explicit", g)


def test_a_sum_that_no_convolution_takes_in_keeps_both_sides(load, sketch):
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    pool = g.op("MaxPool", x, name="pool", kernel_shape=[3, 3], pads=[1] * 4)
    total = g.op("Add", x, pool, name="total")
    found = Graph(load(g.model(g.conv(total, 4, 2, "last"))))
    edges = place(plan(), "explicit_residual", found).edges
    assert {edge.tensor for edge in edges if edge.node == "total"} == {"relu_out", "pool_out"}


# --- implicit -------------------------------------------------------------------------------------


@implicit
def test_implicit_edges_are_every_activation(graph, placement):
    g = graph("residual")
    points = place(plan(), placement, g)
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


@implicit
def test_implicit_gives_the_outputs_a_range_but_no_pair(graph, placement):
    points = place(plan(), placement, graph("classifier"))
    assert set(points.sources) - set(points.tensors) == {"fc_out"}
    assert place(plan(), "explicit", graph("classifier")).sources.keys() == {
        "images", "relu1_out", "flatten_out"
    }  # fmt: skip


# --- ranges that go from outputs to inputs --------------------------------------------------------


@pytest.fixture
def pyramid(load, sketch) -> Any:
    """A spatial pyramid, and a route as in YOLOv3-tiny: an activation into a pool and a Concat."""
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    pools = [
        g.op("MaxPool", x, name=f"pool{k}", kernel_shape=[k, k], pads=[k // 2] * 4) for k in (3, 5)
    ]
    spp = g.op("Concat", x, *pools, name="spp", axis=1)
    y = g.op("Relu", g.conv(spp, 12, 4, "mid"), name="mid_relu")
    small = g.op("MaxPool", y, name="half", kernel_shape=[2, 2], strides=[2, 2])
    deep = g.conv(small, 4, 4, "deep")
    large = g.op("Resize", deep, "", g.const(np.float32([1, 1, 2, 2])), name="up")
    route = g.op("Concat", large, y, name="route", axis=1)
    return Graph(load(g.model(g.conv(route, 8, 2, "last"))))


def test_pools_and_concatenations_take_the_range_of_their_output(pyramid):
    sources = place(plan(), "implicit", pyramid).sources
    for tensor in ("relu_out", "pool3_out", "pool5_out", "spp_out"):
        assert sources[tensor] == ("spp_out",)
    assert sources["up_out"] == sources["route_out"] == ("route_out",)
    assert sources["deep_out"] == ("deep_out",)  # not through a resizing
    assert set(sources["mid_relu_out"]) == {"half_out", "route_out"}
    assert sources["half_out"] == ("half_out",)


def test_of_several_sources_the_widest_range_counts(pyramid):
    points = place(plan(), "implicit", pyramid)
    found = points.widest({name: 2.0 if name == "route_out" else 1.0 for name in points.measured})
    assert (found["mid_relu_out"], found["half_out"], found["up_out"]) == (2.0, 1.0, 2.0)
    assert found.keys() == points.sources.keys()


def test_a_concatenation_in_float_takes_nothing(pyramid):
    sources = place(plan("name:^route$"), "implicit", pyramid).sources
    assert "up_out" not in sources
    assert sources["mid_relu_out"] == ("half_out",)


def test_what_is_only_joined_for_the_outputs_keeps_its_own_range(load, sketch):
    """Boxes in pixels and scores below one, as YOLOv8 puts out."""
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    boxes = g.op("Mul", g.conv(x, 4, 4, "boxes"), g.const(np.float32(640)), name="pixels")
    scores = g.op("Sigmoid", g.conv(x, 4, 4, "scores"), name="sigmoid")
    joined = g.op("Concat", boxes, scores, name="joined", axis=1)
    turned = g.op("Transpose", joined, name="turned", perm=[0, 2, 3, 1])
    for outputs in ((joined,), (turned,), (joined, turned)):
        sources = place(plan(), "implicit", Graph(load(g.model(*outputs)))).sources
        assert sources["sigmoid_out"] == ("sigmoid_out",)
        assert sources["pixels_out"] == ("pixels_out",)


def test_in_tensorrt_10_a_pool_takes_the_range_of_its_input(pyramid):
    points = place(plan(), "implicit_tensorrt10", pyramid)
    for tensor in ("relu_out", "pool3_out", "pool5_out"):
        assert points.sources[tensor] == ("relu_out",)
    assert points.sources["half_out"] == ("mid_relu_out",)
    for tensor in ("spp_out", "mid_relu_out", "up_out", "route_out", "last_out"):
        assert points.sources[tensor] == (tensor,)
    assert points.edges == place(plan(), "implicit", pyramid).edges


def test_in_tensorrt_10_pools_in_a_row_share_one_range(load, sketch):
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    for name in ("one", "two", "three"):
        x = g.op("MaxPool", x, name=name, kernel_shape=[3, 3], pads=[1] * 4)
    found = Graph(load(g.model(g.conv(x, 4, 2, "last"))))
    sources = place(plan(), "implicit_tensorrt10", found).sources
    assert sources["three_out"] == sources["two_out"] == sources["one_out"] == ("relu_out",)
    kept = place(plan("name:^two$"), "implicit_tensorrt10", found).sources
    assert kept["three_out"] == ("two_out",)
    after_fusion = place(plan(), "implicit_tensorrt10", found, frozenset({"relu_out"})).sources
    assert after_fusion["three_out"] == ("one_out",)


def test_explicit_leaves_every_tensor_its_own_range(pyramid):
    sources = place(plan(), "explicit", pyramid).sources
    assert all(own == (tensor,) for tensor, own in sources.items())


# --- after fusion ---------------------------------------------------------------------------------


@placements
def test_tensors_inside_fused_layers_carry_nothing(graph, placement):
    g = graph("residual")
    points = place(plan(), placement, g, fused_tensors(g))
    assert not set(points.sources) & {"stem_out", "block1_out", "block2_out", "join_out"}
    assert {"images", "relu0_out", "relu1_out"} <= set(points.tensors)
    assert points.mac_share(g) == 1  # every layer still has its input quantized


@placements
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
