"""One layer that can be quantized by itself: a product or a residual Add, in every precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx
from onnx import NodeProto

from bench.model.cut import Values, build_model
from bench.model.edit import names_read
from bench.model.graph import Graph
from bench.quantization.plan import QuantizationPoints

Precision = Literal["int8", "int8_weights", "int8_activations", "float"]
"""Both inputs in INT8, only its weights, only its activations, or neither."""

_OUTPUT = "output of the unit: "
"""Before a label, so that no tensor of the network has the same name."""


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
        """A model that computes the unit's outputs once in each of some precisions by label, from
        the unit's plain inputs, which ``values`` has; ``labelled`` tells its outputs apart."""
        # Dequantized here: what ``values`` has may come from other ranges.
        dequantized = {*self._qdq[unit.name].input} - {*self._fp32[unit.name].input}
        known = {name: array for name, array in values.items() if name not in dequantized}
        nodes: dict[str, NodeProto] = {}
        gives: list[str] = []
        for label, precision in precisions.items():
            node = self._node(unit, precision)
            for name in sorted(names_read(node)):
                self._add_what_makes(name, known, nodes)
            present = [index for index, name in enumerate(node.output) if name]
            for number, index in enumerate(present):
                node.output[index] = f"{_OUTPUT}{label}" + (f" {number}" if number else "")
                gives.append(node.output[index])
            node.name = f"{_OUTPUT}{label}"
            nodes[node.name] = node
        made = {name for node in nodes.values() for name in node.output}
        read = {name for node in nodes.values() for name in names_read(node)}
        inputs = {name: known[name] for name in sorted(read - made) if name in known}
        return build_model(self._both, list(nodes.values()), inputs, gives)

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

    def _add_what_makes(self, name: str, values: Values, nodes: dict[str, NodeProto]) -> None:
        """The nodes that make a dequantized tensor of a plain one or of stored integers, or one
        that does not depend on the network's input."""
        node = self._producer.get(name)
        if node is None or name in values or node.name in nodes:
            return
        for read in sorted(names_read(node)):
            self._add_what_makes(read, values, nodes)
        nodes[node.name] = node


def labelled(gives: Sequence[str], outputs: int) -> dict[str, tuple[str, ...]]:
    """The outputs of a unit's model by label, of a unit with that many outputs."""
    return {
        gives[first].removeprefix(_OUTPUT): tuple(gives[first : first + outputs])
        for first in range(0, len(gives), outputs)
    }


def plain_inputs(units: tuple[Unit, ...]) -> Mapping[str, tuple[str, ...]]:
    """What every unit reads before quantization, by its name."""
    return {unit.name: unit.activations for unit in units}
