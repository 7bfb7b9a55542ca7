"""Cuts: what crosses one, and that the piece behind it gives what the whole network gives.

Weights and images are small integers, so every sum is exact in float32 whatever its order, and
outputs can be compared to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.engine.ov_piece import OpenPiece
from bench.model.cut import CuttableNetwork
from bench.model.graph import Graph
from bench.quantization.plan import PrecisionPlan, place
from bench.quantization.qdq import insert_qdq
from tests.tiny_models import Sketch

SIZE = 8


class Exact(Sketch):
    """Weights are whole numbers."""

    def normal(self, *shape: int, fan_in: int = 1) -> Any:
        return self.rng.integers(-2, 3, shape).astype(np.float32)

    def conv(self, x: str, c_in: int, c_out: int, name: str, k: int = 1, **attributes: Any) -> str:
        weight = self.const(self.normal(c_out, c_in // attributes.get("group", 1), k, k))
        bias = self.const(self.normal(c_out))
        return self.op("Conv", x, weight, bias, name=name, pads=[k // 2] * 4, **attributes)

    def constant(self, value: Any, name: str) -> str:
        """As a node."""
        return self.op("Constant", name=name, value=numpy_helper.from_array(np.asarray(value)))

    def done(self, *outputs: str) -> onnx.ModelProto:
        return self.model(*outputs, batch=1, size=(SIZE, SIZE))


def branches() -> onnx.ModelProto:
    g = Exact(1)
    x = g.op("Relu", g.conv("images", 3, 4, "stem", 3), name="relu")
    left, right = g.conv(x, 4, 4, "left"), g.conv(x, 4, 2, "right", 3)
    return g.done(g.op("Concat", left, right, "images", name="concat", axis=1))


def residual() -> onnx.ModelProto:
    g = Exact(2)
    stem = g.op("Relu", g.conv("images", 3, 4, "stem", 3), name="relu")
    x = g.op("Relu", g.conv(stem, 4, 4, "depthwise", 3, group=4), name="relu1")
    x = g.op("Add", g.conv(x, 4, 4, "block"), stem, name="join")
    x = g.op("GlobalAveragePool", x, name="pool")  # of 64 values: exact
    x = g.op("Flatten", x, name="flatten")
    return g.done(g.op("Gemm", x, g.const(g.normal(5, 4)), name="fc", transB=1))


def split() -> onnx.ModelProto:
    """Of three outputs one is read at once, one late, and one never."""
    g = Exact(3)
    x = g.conv("images", 3, 6, "stem", 3)
    now, late, _ = g.op("Split", x, g.const(np.array([2, 2, 2])), name="split", outputs=3, axis=1)
    x = g.conv(g.op("Relu", now, name="relu"), 2, 2, "next")
    return g.done(g.op("Mul", x, late, name="mul"))


def shapes() -> onnx.ModelProto:
    """A Reshape to a shape that is computed, as exporters write it, and Constant nodes."""
    g = Exact(4)
    x = g.conv("images", 3, 4, "stem")
    shape = g.op("Shape", x, name="shape")
    first = g.op("Gather", shape, g.constant(np.array([0]), "zero"), name="gather")
    wanted = g.op("Concat", first, g.constant(np.array([-1]), "rest"), name="wanted", axis=0)
    y = g.op("Relu", g.conv(x, 4, 2, "next"), name="relu")
    shift = g.op("Add", y, g.constant(np.float32(3), "three"), name="shift")
    return g.done(g.op("Reshape", shift, wanted, name="reshape"))


def shape_of_what_is_gone() -> onnx.ModelProto:
    """Only the shape of ``stem_out`` is read behind ``next``."""
    g = Exact(5)
    x = g.conv("images", 3, 4, "stem")
    y = g.conv(g.op("MaxPool", x, name="pool", kernel_shape=[2, 2], strides=[2, 2]), 4, 4, "next")
    size = g.op("Shape", x, name="shape")
    up = g.op("Resize", y, "", "", size, name="resize", mode="nearest")
    return g.done(g.op("Relu", up, name="relu"))


def weights_that_are_computed() -> onnx.ModelProto:
    g = Exact(6)
    x = g.conv("images", 3, 4, "stem")
    turned = g.op("Transpose", g.const(g.normal(4, 2, 1, 1)), name="turned", perm=[1, 0, 2, 3])
    doubled = g.op("Add", turned, turned, name="doubled")
    return g.done(g.op("Conv", g.op("Relu", x, name="relu"), doubled, name="last"))


def conditional() -> onnx.ModelProto:
    """Only a branch of the If reads ``relu_out``, and weights of the graph around it."""
    g = Exact(7)
    x = g.op("Relu", g.conv("images", 3, 2, "stem"), name="relu")
    g.const(g.normal(2, 1, 1), "outer")
    inner = {
        key: helper.make_graph(
            [helper.make_node(kind, [x, "outer"], [kind], name=kind)],
            kind,
            [],
            [helper.make_tensor_value_info(kind, TensorProto.FLOAT, None)],
        )
        for key, kind in (("then_branch", "Mul"), ("else_branch", "Add"))
    }
    mean = g.op("ReduceMax", "images", name="max", keepdims=0)
    bright = g.op("Greater", mean, g.const(np.float32(1)), name="bright")
    y = g.op("Neg", g.conv("images", 3, 2, "side"), name="neg")
    return g.done(g.op("Add", g.op("If", bright, name="if", **inner), y, name="sum"))


def several_outputs() -> onnx.ModelProto:
    """An output that is read on, one from the end, one that no image changes, and a weight."""
    g = Exact(8)
    x = g.conv("images", 3, 4, "stem")
    y = g.conv(g.op("Relu", x, name="relu"), 4, 2, "last")
    strides = g.const(np.float32([8, 16]), "strides")
    doubled = g.op("Add", strides, strides, name="doubled")
    return g.done("relu_out", y, doubled, x)


def kinds() -> onnx.ModelProto:
    """What crosses is int64, bool and a float without axes."""
    g = Exact(9)
    x = g.conv("images", 3, 4, "stem")
    best = g.op("ArgMax", x, name="best", axis=1, keepdims=1)
    most = g.op("ReduceMax", x, name="most", keepdims=0)
    high = g.op("Greater", x, g.const(np.float32(1)), name="high")
    y = g.op("Neg", x, name="neg")
    y = g.op("Where", high, y, most, name="where")
    return g.done(g.op("Add", y, g.op("Cast", best, name="cast", to=1), name="sum"))


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    builder.__name__: builder
    for builder in (
        branches, residual, split, shapes, shape_of_what_is_gone, weights_that_are_computed,
        conditional, several_outputs, kinds,
    )
}  # fmt: skip

every_network = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture
def image() -> Any:
    return np.random.default_rng(0).integers(-2, 3, (1, 3, SIZE, SIZE)).astype(np.float32)


def names(model: onnx.ModelProto, start: int = 0) -> list[str]:
    """The tensors that are computed from a node on."""
    return [name for node in model.graph.node[start:] for name in node.output]


def run(model: onnx.ModelProto, values: dict[str, Any]) -> dict[str, Any]:
    return OpenPiece(model).run(values)


def cuts(cut: CuttableNetwork, image: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every position with the values that cross there, each computed from those before."""
    known = {"images": image}
    for position in range(cut.end + 1):
        crossing = cut.crossing(position)
        step = cut.piece(max(position - 1, 0), position, crossing, known)
        known = {**known, **run(step, known)}
        known = {name: known[name] for name in crossing}
        yield position, known


def assert_same(actual: dict[str, Any], expected: dict[str, Any], outputs: list[str]) -> None:
    for name in outputs:
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)
        assert actual[name].dtype == expected[name].dtype


# --- the piece behind -----------------------------------------------------------------------------


@every_network
def test_what_crosses_and_the_piece_behind_give_what_the_whole_gives(network, image):
    cut = CuttableNetwork(NETWORKS[network](), "images")
    whole = run(cut.piece(0, cut.end, cut.output_names, {"images": image}), {"images": image})
    assert list(whole) == cut.output_names
    for position, known in cuts(cut, image):
        behind = run(cut.piece(position, cut.end, cut.output_names, known), known)
        assert_same({**known, **behind}, whole, cut.output_names)


@every_network
def test_the_whole_is_what_onnx_runtime_computes(network, image, run_in_onnxruntime):
    model = NETWORKS[network]()
    cut = CuttableNetwork(model, "images")
    whole = run(cut.piece(0, cut.end, cut.output_names, {"images": image}), {"images": image})
    expected = run_in_onnxruntime(model, image)
    assert_same(whole, dict(zip(cut.output_names, expected, strict=True)), cut.output_names)


def test_both_branches_of_an_if(image):
    cut = CuttableNetwork(conditional(), "images")
    outputs = []
    for one in (image, np.minimum(image, 1)):
        first = {"images": one}
        position = cut.position("if")
        crossing = cut.crossing(position)
        known = run(cut.piece(0, position, crossing, first), first)
        behind = run(cut.piece(position, cut.end, cut.output_names, known), known)
        whole = run(cut.piece(0, cut.end, cut.output_names, first), first)
        assert_same(behind, whole, cut.output_names)
        outputs.append(known["bright_out"])
    assert outputs == [True, False]


def test_a_network_with_qdq(load, image):
    """Weights have scale 1 and activations 3, which leaves whole numbers and no ties."""
    g = Exact(10)
    x = stem = g.op("Relu", g.conv("images", 3, 4, "stem", 3), name="relu")
    x = g.conv(x, 4, 4, "depthwise", 3, group=4)
    x = g.op("Concat", g.op("Add", x, stem, name="join"), x, name="concat", axis=1)
    proto = g.done(g.conv(g.conv(x, 8, 4, "next"), 4, 2, "last"))
    for tensor in proto.graph.initializer:
        weight = numpy_helper.to_array(tensor).copy()
        if weight.ndim == 4:
            weight.reshape(len(weight), -1)[:, 0] = 127
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    model = load(proto)
    graph = Graph(model)
    points = place(PrecisionPlan("all"), "explicit", graph)
    assert "join" in {edge.node for edge in points.edges}
    qdq = insert_qdq(model, graph, points, dict.fromkeys(points.tensors, 3.0 * 127))
    cut = CuttableNetwork(qdq, "images")
    whole = run(cut.piece(0, cut.end, cut.output_names, {"images": image}), {"images": image})
    for position, known in cuts(cut, image):
        assert not {name for name in known if "/weight" in name or "/bias" in name}
        behind = run(cut.piece(position, cut.end, cut.output_names, known), known)
        assert_same({**known, **behind}, whole, cut.output_names)


# --- what crosses ---------------------------------------------------------------------------------


@every_network
def test_nothing_crosses_that_is_not_read_behind(network, image):
    """The nodes behind need all that crosses, and an output that is there already crosses too."""
    cut = CuttableNetwork(NETWORKS[network](), "images")
    known = {"images": image}
    known |= run(cut.piece(0, cut.end, names(cut.model), known), known)
    for position in range(cut.end + 1):
        wanted = {*names(cut.model, position), *cut.output_names}
        piece = cut.piece(position, cut.end, sorted(wanted), known)
        read = {value.name for value in piece.graph.input}
        there_already = wanted - {value.name for value in piece.graph.output}
        assert set(cut.crossing(position)) == read | there_already


@pytest.mark.parametrize(
    ("network", "node", "crossing"),
    [
        ("branches", "stem", {"images"}),
        ("branches", "left", {"images", "relu_out"}),
        ("branches", "concat", {"images", "left_out", "right_out"}),
        ("residual", "block", {"relu_out", "relu1_out"}),
        ("residual", "join", {"relu_out", "block_out"}),
        ("residual", "pool", {"join_out"}),
        ("split", "relu", {"split_out0", "split_out1"}),
        ("split", "mul", {"next_out", "split_out1"}),
        ("shapes", "shape", {"stem_out"}),
        ("shapes", "relu", {"stem_out", "next_out"}),
        ("shapes", "reshape", {"stem_out", "shift_out"}),
        ("shape_of_what_is_gone", "resize", {"stem_out", "next_out"}),
        ("shape_of_what_is_gone", "relu", {"resize_out"}),
        ("weights_that_are_computed", "last", {"relu_out"}),
        ("conditional", "side", {"images", "relu_out", "bright_out"}),
        ("conditional", "if", {"relu_out", "bright_out", "neg_out"}),
        ("conditional", "sum", {"if_out", "neg_out"}),
        ("several_outputs", "last", {"stem_out", "relu_out"}),
        ("kinds", "where", {"best_out", "most_out", "high_out", "neg_out"}),
    ],
)
def test_what_crosses_before_a_node(network, node, crossing):
    cut = CuttableNetwork(NETWORKS[network](), "images")
    assert set(cut.crossing(cut.position(node))) == crossing


def test_nothing_but_outputs_crosses_behind_the_last_node():
    cut = CuttableNetwork(several_outputs(), "images")
    assert set(cut.crossing(cut.end)) == {"stem_out", "relu_out", "last_out"}
    cut = CuttableNetwork(branches(), "images")
    assert cut.crossing(cut.end) == ("concat_out",)


def test_what_somebody_wants_at_a_node_crosses_up_to_it(image):
    """As the plain tensor is carried to a unit that reads the dequantized one."""
    plain = CuttableNetwork(residual(), "images")
    wanting = CuttableNetwork(residual(), "images", {"pool": ("images", "depthwise_out")})
    last = wanting.position("pool")
    for position in range(wanting.end + 1):
        more = {"images", "depthwise_out"} if position <= last else set()
        more -= set(names(wanting.model, position))
        assert set(wanting.crossing(position)) == set(plain.crossing(position)) | more
    crossing = wanting.crossing(last)
    known = {"images": image}
    known |= run(wanting.piece(0, last, crossing, known), known)
    piece = wanting.piece(last, wanting.end, wanting.output_names, known)
    assert [value.name for value in piece.graph.input] == ["join_out"]  # only what is needed


def test_a_wanted_tensor_that_no_image_changes_is_not_carried():
    cut = CuttableNetwork(shapes(), "images", {"reshape": ("zero_out", "wanted_out")})
    assert set(cut.crossing(cut.position("reshape"))) == {"stem_out", "shift_out"}


# --- pieces ---------------------------------------------------------------------------------------


def test_a_piece_has_the_nodes_and_weights_that_it_needs(image):
    cut = CuttableNetwork(branches(), "images")
    known = {"images": image, "relu_out": np.zeros((1, 4, SIZE, SIZE), np.float32)}
    piece = cut.piece(cut.position("left"), cut.end, ["right_out", "stem_out"], known)
    assert [node.name for node in piece.graph.node] == ["right"]
    assert [value.name for value in piece.graph.input] == ["relu_out"]
    assert [value.name for value in piece.graph.output] == ["right_out"]
    assert {tensor.name for tensor in piece.graph.initializer} == set(piece.graph.node[0].input[1:])


def test_a_piece_without_outputs_runs(image):
    cut = CuttableNetwork(branches(), "images")
    assert run(cut.piece(0, 0, cut.crossing(0), {"images": image}), {"images": image}) == {}


def test_an_output_that_no_image_changes_comes_from_every_piece(image):
    """Strides of a detector, folded into a weight or made by a node before the cut."""
    model = several_outputs()
    model.graph.output.append(helper.make_tensor_value_info("strides", TensorProto.FLOAT, [2]))
    cut = CuttableNetwork(model, "images")
    for position, known in cuts(cut, image):
        behind = run(cut.piece(position, cut.end, cut.output_names, known), known)
        np.testing.assert_array_equal(behind["strides"], [8, 16])
        np.testing.assert_array_equal(behind["doubled_out"], [16, 32])


def test_outputs_of_a_node():
    cut = CuttableNetwork(split(), "images")
    assert cut.outputs(cut.position("split")) == ("split_out0", "split_out1", "split_out2")
    model = residual()
    model.graph.node[-1].output.append("")  # an output that is left out
    cut = CuttableNetwork(model, "images")
    assert cut.outputs(cut.position("fc")) == ("fc_out",)


def test_the_model_is_not_changed(image):
    model = conditional()
    before = model.SerializeToString()
    cut = CuttableNetwork(model, "images", {"if": ("images",)})
    run(cut.piece(0, cut.end, cut.output_names, {"images": image}), {"images": image})
    assert model.SerializeToString() == before
