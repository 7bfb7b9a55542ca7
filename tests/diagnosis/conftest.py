"""Small networks with their Q/DQ form, and Q/DQ forms in which few nodes are quantized."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import pytest

from bench.diagnosis.unit import Unit, plain_inputs, units_of
from bench.model.cut import CuttableNetwork
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.quantization.plan import Placement, PrecisionPlan, QuantizationPoints, place
from bench.quantization.qdq import insert_qdq
from tests.diagnosis.small_networks import SIDE


@dataclass(frozen=True, eq=False)
class Pair:
    """A network and its Q/DQ form."""

    model: OnnxModel
    graph: Graph
    points: QuantizationPoints
    ranges: dict[str, float]

    @property
    def fp32(self) -> onnx.ModelProto:
        return self.model.proto

    @property
    def qdq(self) -> onnx.ModelProto:
        return insert_qdq(self.model, self.graph, self.points, self.ranges)

    @property
    def units(self) -> tuple[Unit, ...]:
        return units_of(self.points, self.graph)

    def cut(self, model: onnx.ModelProto) -> CuttableNetwork:
        return CuttableNetwork(model, self.graph.input_name, plain_inputs(self.units))

    def quantized(
        self, nodes: Collection[str], activations: bool = True, weights: bool = True
    ) -> onnx.ModelProto:
        """The Q/DQ form with only these nodes in INT8, or only their activations or weights."""
        edges = tuple(edge for edge in self.points.edges if edge.node in nodes)
        weighted = tuple(name for name in self.points.weighted_nodes if name in nodes and weights)
        points = replace(self.points, edges=edges, weighted_nodes=weighted)
        proto = insert_qdq(self.model, self.graph, points, self.ranges)
        for edge in edges if not activations else ():
            node = next(node for node in proto.graph.node if node.name == edge.node)
            node.input[edge.index] = edge.tensor
        return proto


@pytest.fixture(scope="session")
def pair(load, run_in_onnxruntime, images) -> Callable[..., Pair]:
    """``pair(network, placement="explicit")``: with ranges of four images, cut at four fifths."""

    def make(network: Callable[[], onnx.ModelProto], placement: Placement = "explicit") -> Pair:
        model = load(network())
        graph = Graph(model)
        points = place(PrecisionPlan("all"), placement, graph)
        shown = onnx.ModelProto()
        shown.CopyFrom(model.proto)
        del shown.graph.output[:]
        names = [name for name in points.tensors if name != graph.input_name]
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        ranges = dict.fromkeys(points.tensors, 0.8)
        for seed in range(4):
            actual = run_in_onnxruntime(shown, images(seed=seed, side=SIDE))
            for name, values in zip(names, actual, strict=True):
                ranges[name] = max(ranges[name], 0.8 * float(np.abs(values).max()))
        return Pair(model, graph, points, ranges)

    return make


@pytest.fixture(scope="session")
def draw(images) -> Callable[..., list[Any]]:
    """``draw(count)``: images that no range has seen. In none does a value that is quantized lie
    within a ten-thousandth of a step of a tie: engines may break ties
    differently, as they multiply by a scale or divide by it."""
    return lambda count=1: [images(seed=100 + number, side=SIDE) for number in range(count)]
