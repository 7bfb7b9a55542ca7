"""A small network with constructs that engines often get wrong, in FP32 and with Q/DQ."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.engine.base import Array
from bench.model.graph import Graph
from bench.model.onnx_model import load_model
from bench.quantization.plan import PrecisionPlan, place
from bench.quantization.qdq import insert_qdq

AMAX = 4.0
"""The amax of every tensor. It clips slightly, as it must in every engine."""


@dataclass(frozen=True, eq=False)
class Tiny:
    """The network in both forms, batch 1, and an input (1, 3, side, side) for it.

    ``amax`` is the range of every activation and of the output, as in ``qdq``, for implicit
    quantization: TensorRT does not run a layer in INT8 if one of its tensors has no range.
    """

    fp32: onnx.ModelProto
    qdq: onnx.ModelProto
    amax: Mapping[str, float]
    batch: Array


def make_tiny(channels: int = 16, side: int = 32) -> Tiny:
    """Convolutions, a ReLU, and a signed concatenation that a convolution reads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        onnx.save(_network(channels, side), path)
        model = load_model(path)
    graph = Graph(model)
    plan = PrecisionPlan("all")
    points, activations = place(plan, "explicit", graph), place(plan, "implicit", graph).sources
    amax = dict.fromkeys(activations, AMAX)
    batch = np.random.default_rng(1).random((1, 3, side, side), np.float32)
    return Tiny(model.proto, insert_qdq(model, graph, points, amax), amax, batch)


def _network(channels: int, side: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights: list[onnx.TensorProto] = []

    def convolve(name: str, source: str, n_in: int, n_out: int) -> onnx.NodeProto:
        drawn = rng.standard_normal((n_out, n_in, 3, 3)) * np.sqrt(2 / (9 * n_in))
        weights.append(numpy_helper.from_array(drawn.astype(np.float32), f"{name}.w"))
        weights.append(numpy_helper.from_array(np.full(n_out, 0.1, np.float32), f"{name}.b"))
        inputs = [source, f"{name}.w", f"{name}.b"]
        return helper.make_node(
            "Conv", inputs, [name], name=name, pads=[1] * 4, kernel_shape=[3, 3]
        )

    nodes = [
        convolve("stem", "images", 3, channels),
        helper.make_node("Relu", ["stem"], ["relu"], name="relu"),
        convolve("left", "relu", channels, channels),
        convolve("right", "relu", channels, channels),
        helper.make_node("Concat", ["left", "right"], ["joined"], name="joined", axis=1),
        convolve("last", "joined", 2 * channels, 8),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, depth, side, side])
        for name, depth in (("images", 3), ("last", 8))
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
