"""A tiny model with the ranges that its tensors show on random images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest

from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.quantization.plan import PrecisionPlan, QuantizationPoints, place
from bench.quantization.qdq import insert_qdq


@dataclass(frozen=True)
class Quantized:
    """A model, what was decided about it, and what came out."""

    model: OnnxModel
    graph: Graph
    points: QuantizationPoints
    amax: dict[str, float]
    proto: onnx.ModelProto

    def node(self, name: str) -> onnx.NodeProto:
        return next(node for node in self.proto.graph.node if node.name == name)

    def producer(self, tensor: str) -> onnx.NodeProto:
        return next(node for node in self.proto.graph.node if tensor in node.output)

    def stored(self, name: str) -> np.ndarray[Any, Any]:
        found = next(t for t in self.proto.graph.initializer if t.name == name)
        return onnx.numpy_helper.to_array(found)

    def dequantize(self, tensor: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """What a DequantizeLinear of a weight reads: int8 values, scales, zero points, axis."""
        node = self.producer(tensor)
        assert node.op_type == "DequantizeLinear"
        values, scales, zeros = (self.stored(name) for name in node.input)
        return values, scales, zeros, next(a.i for a in node.attribute if a.name == "axis")


@pytest.fixture(scope="session")
def quantize(run_in_onnxruntime, images) -> Callable[..., Quantized]:
    """``quantize(model, plan=(), placement="explicit")`` with minmax ranges of four images."""

    def make(
        model: OnnxModel, plan: tuple[str, ...] = (), placement: Any = "explicit"
    ) -> Quantized:
        graph = Graph(model)
        points = place(PrecisionPlan("test", plan), placement, graph)
        proto = onnx.ModelProto()
        proto.CopyFrom(model.proto)
        del proto.graph.output[:]
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in points.tensors if name != "images"
        )
        amax = dict.fromkeys(points.tensors, 0.0)
        for seed in range(4):
            x = images(seed=seed)
            values = dict(zip([o.name for o in proto.graph.output], [], strict=False))
            if proto.graph.output:
                found = run_in_onnxruntime(proto, x)
                values = dict(zip([o.name for o in proto.graph.output], found, strict=True))
            values["images"] = x
            amax = {name: max(a, float(np.abs(values[name]).max())) for name, a in amax.items()}
        return Quantized(model, graph, points, amax, insert_qdq(model, graph, points, amax))

    return make
