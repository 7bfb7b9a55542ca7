"""One layer that can be quantized by itself: a product or a residual Add, in every precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx
from onnx import NodeProto

from bench.model.cut import Values, build_model
from bench.model.graph import Graph
from bench.quantization.plan import QuantizationPoints

Precision = Literal["int8", "int8_weights", "int8_activations", "float"]
"""Both inputs in INT8, only its weights, only its activations, or neither."""


@dataclass(frozen=True)
class Unit:
    """A node, and the activations among its inputs that carry Q/DQ."""

    name: str
    activations: tuple[str, ...]


def units_of(points: QuantizationPoints, graph: Graph) -> tuple[Unit, ...]:
    """The nodes whose inputs a plan quantizes, in the order in which the network computes them."""
    read: dict[str, list[str]] = {}
    for edge in points.edges:
        read.setdefault(edge.node, []).append(edge.tensor)
    return tuple(Unit(name, tuple(read[name])) for name in graph.nodes if name in read)


class UnitModels:
    """Each unit as a model of its own, made from the FP32 model and its Q/DQ form."""

    def __init__(self, fp32: onnx.ModelProto, qdq: onnx.ModelProto) -> None:
        self._models = (fp32, qdq)
        self._fp32 = {node.name: node for node in fp32.graph.node}
        self._qdq = {node.name: node for node in qdq.graph.node}
        self._producer = {name: node for node in qdq.graph.node for name in node.output}
        self._both = onnx.ModelProto()
        self._both.CopyFrom(qdq)
        stored = {tensor.name for tensor in qdq.graph.initializer}
        self._both.graph.initializer.extend(
            tensor for tensor in fp32.graph.initializer if tensor.name not in stored
        )

    def model(
        self, unit: Unit, precisions: Mapping[str, Precision], values: Values
    ) -> onnx.ModelProto:
        """A model that computes the unit's first output once in each of some precisions by label,
        from the unit's plain inputs, which ``values`` has. Its outputs are called as the labels."""
        nodes: dict[str, NodeProto] = {}
        for label, precision in precisions.items():
            node = self._node(unit, precision)
            for name in node.input:
                self._add_quantization(name, nodes)
            node.name, node.output[0] = label, label
            nodes[label] = node
        made = {name for node in nodes.values() for name in node.output}
        inputs = {
            name: values[name]
            for name in dict.fromkeys(name for node in nodes.values() for name in node.input)
            if name in values and name not in made
        }
        return build_model(self._both, list(nodes.values()), inputs, precisions)

    def _node(self, unit: Unit, precision: Precision) -> NodeProto:
        """The node with the inputs of that precision: activations from one of the two forms, and
        weights with their bias from one."""
        weights, activations = (
            self._qdq if precision in ("int8", exact) else self._fp32
            for exact in ("int8_weights", "int8_activations")
        )
        node = NodeProto()
        node.CopyFrom(weights[unit.name])
        plain = self._fp32[unit.name].input
        for index, name in enumerate(activations[unit.name].input):
            if plain[index] in unit.activations:
                node.input[index] = name
        return node

    def _add_quantization(self, name: str, nodes: dict[str, NodeProto]) -> None:
        """What makes a dequantized tensor of a plain one or of stored integers."""
        node = self._producer.get(name)
        if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            return
        self._add_quantization(node.input[0], nodes)
        nodes[node.name] = node


def plain_inputs(units: tuple[Unit, ...]) -> Mapping[str, tuple[str, ...]]:
    """What every unit reads before quantization, by its name."""
    return {unit.name: unit.activations for unit in units}
