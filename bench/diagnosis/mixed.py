"""A Q/DQ model with only some of its layers in INT8."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx

from bench.diagnosis.unit import Unit
from bench.model.edit import copy_of, drop_unused_initializers, names_read, set_nodes


class MixedModels:
    """Made from a network's FP32 model and its Q/DQ form with every one of ``units`` in INT8."""

    def __init__(self, fp32: onnx.ModelProto, qdq: onnx.ModelProto, units: Sequence[Unit]) -> None:
        self._qdq = qdq
        self._units = frozenset(unit.name for unit in units)
        self._fp32 = {node.name: node for node in fp32.graph.node}
        stored = {tensor.name for tensor in qdq.graph.initializer}
        self._weights = [tensor for tensor in fp32.graph.initializer if tensor.name not in stored]

    def with_int8(self, names: Collection[str]) -> onnx.ModelProto:
        """Only the units of these names in INT8, with ranges and scales as in the Q/DQ form."""
        nodes = [
            self._fp32[node.name] if node.name in self._units and node.name not in names else node
            for node in self._qdq.graph.node
        ]
        mixed = copy_of(self._qdq)
        set_nodes(mixed.graph, _read_by_outputs(nodes, [o.name for o in mixed.graph.output]))
        mixed.graph.initializer.extend(self._weights)
        drop_unused_initializers(mixed)
        return mixed


def _read_by_outputs(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]
) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on, without quantization that is no longer read."""
    wanted, chosen = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            chosen.append(node)
            wanted |= names_read(node)
    return chosen[::-1]
