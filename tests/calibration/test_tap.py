"""The network in pieces: every tensor is what it is in the whole, wherever the cuts fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from bench.calibration import tap as taps
from bench.calibration.tap import Tap, TappedNetwork
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.quantization.plan import PrecisionPlan, place

Array = np.ndarray[Any, Any]


def whole(model: OnnxModel, tensors: tuple[str, ...], image: Array, run: Any) -> dict[str, Array]:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.output[:]
    names = [name for name in tensors if name != "images"]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return dict(zip(names, run(proto, image), strict=True)) | {"images": image}


@pytest.fixture(params=[1, 5000, 1 << 30], ids=["node by node", "some pieces", "one piece"])
def piece_bytes(request, monkeypatch) -> int:
    monkeypatch.setattr(taps, "PIECE_BYTES", request.param)
    return int(request.param)


@pytest.mark.parametrize("backwards", [False, True])
def test_every_tensor_is_that_of_the_whole(
    tiny_name, tiny, images, run_in_onnxruntime, piece_bytes, backwards
):
    model = tiny(tiny_name)
    tensors = tuple(place(PrecisionPlan("all"), "implicit", Graph(model)).sources)
    tap = Tap(TappedNetwork(model, tensors, threads=1), 3, backwards)
    for seeds in ((0, 1, 2), (3, 4), (5, 6, 7), (8,)):  # the same memory every time
        group = [images(seed=seed) for seed in seeds]
        expected = [whole(model, tensors, x, run_in_onnxruntime) for x in group]
        found = {name: values.copy() for name, _, values in tap.run(group)}
        assert found.keys() == set(tensors)
        for name, values in found.items():
            assert len(values) == len(group)
            for own, right in zip(values, expected, strict=True):
                np.testing.assert_allclose(own, right[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_small_pieces_are_many_and_take_little_memory(tiny, monkeypatch):
    model = tiny("silu_concat")
    tensors = tuple(place(PrecisionPlan("all"), "implicit", Graph(model)).sources)
    monkeypatch.setattr(taps, "PIECE_BYTES", 1)
    network = TappedNetwork(model, tensors, threads=1)
    assert len(network.pieces) > 5
    used = {}
    for buffers in Tap(network)._buffers:
        for values in buffers.values():
            memory = values
            while memory.base is not None:
                memory = memory.base
            used[id(memory)] = memory.nbytes
    sizes = [4 * int(np.prod(Graph(model).shape(name))) for name in tensors]
    assert sum(used.values()) < sum(sizes) / 2


def test_what_nobody_asks_for_is_not_computed(tiny, monkeypatch):
    monkeypatch.setattr(taps, "PIECE_BYTES", 1)
    network = TappedNetwork(tiny("classifier"), ("images", "stem_out"), threads=1)
    assert [node.name for piece in network.pieces for node in piece.nodes] == ["stem"]


def test_shapes_that_only_a_run_tells(load, sketch, run_in_onnxruntime, images, piece_bytes):
    """Such tensors are seen, but no cut goes through them."""
    g = sketch()
    x = g.op("Relu", g.conv("images", 3, 4, "stem"), name="relu")
    flat = g.op("Reshape", x, g.const(np.array([-1])), name="flat")
    positive = g.op("Greater", flat, g.const(np.float32(0.5)), name="positive")
    kept = g.op("Compress", flat, positive, name="kept")
    total = g.op("ReduceMean", kept, name="mean", keepdims=0)
    model = load(g.model(g.op("Mul", g.conv(x, 4, 2, "last"), total, name="scaled")))
    tensors = ("kept_out", "scaled_out")
    tap = Tap(TappedNetwork(model, tensors, threads=1), 2)
    sizes = set()
    for seeds in ((0, 1), (2, 3)):
        group = [images(seed=seed) for seed in seeds]
        expected = [whole(model, tensors, x, run_in_onnxruntime) for x in group]
        seen = []
        for name, first, values in tap.run(group):
            for number, own in enumerate(values, first):
                seen.append((name, number))
                sizes.add(own.size if name == "kept_out" else 0)
                np.testing.assert_allclose(own, expected[number][name], rtol=1e-4, atol=1e-5)
        assert sorted(seen) == sorted((name, number) for name in tensors for number in range(2))
    assert len(sizes) > 2


def test_a_branch_sees_the_tensors_around_it(load, sketch, run_in_onnxruntime, images, piece_bytes):
    g = sketch()
    outer = g.op("Relu", g.conv("images", 3, 4, "stem"), name="outer")
    x = g.op("Relu", g.conv(outer, 4, 4, "mid"), name="relu")
    branches = {
        key: helper.make_graph(
            [helper.make_node(kind, [x, outer], [kind], name=kind)],
            kind,
            [],
            [helper.make_tensor_value_info(kind, onnx.TensorProto.FLOAT, None)],
        )
        for key, kind in (("then_branch", "Mul"), ("else_branch", "Add"))
    }
    mean = g.op("ReduceMean", "images", name="mean", keepdims=0)
    bright = g.op("Greater", mean, g.const(np.float32(0.5)), name="bright")
    chosen = g.op("If", bright, name="if", **branches)
    model = load(g.model(g.conv(chosen, 4, 2, "last")))
    tensors = ("outer_out", "if_out", "last_out")
    tap = Tap(TappedNetwork(model, tensors, threads=1))
    x = images()
    expected = whole(model, tensors, x, run_in_onnxruntime)
    for name, _, values in tap.run([x]):
        np.testing.assert_allclose(values[0], expected[name], rtol=1e-4, atol=1e-5)
