"""A network cut between two of its nodes: the tensors across the cut, and each side as a model.

Values computed before a cut can be reused, so the part before it need not run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper

from bench.model.edit import names_read

Values = Mapping[str, npt.NDArray[Any]]
"""Tensors by name."""


class CuttableNetwork:
    """The nodes of a model in their order; a cut at ``position`` has that many nodes before it.

    ``also_read`` are further tensors that are needed at a node, by node name: they are carried up
    to it. A node that does not depend on the network's input, such as one that
    dequantizes weights, belongs to every piece that needs it, and never crosses a cut.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        input_name: str,
        also_read: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.model = model
        self.input_name = input_name
        self.output_names = [output.name for output in model.graph.output]
        self._nodes: list[NodeProto] = list(model.graph.node)
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._place = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._also_read = {name: tuple(read) for name, read in (also_read or {}).items()}
        self._varying = self._find_varying()
        self._last_read = self._find_last_reads()

    def position(self, node: str) -> int:
        """How many nodes come before ``node``; raises StopIteration if there is none."""
        return next(i for i, one in enumerate(self._nodes) if one.name == node)

    @property
    def end(self) -> int:
        """The cut behind the last node."""
        return len(self._nodes)

    def made_at(self, tensor: str) -> int:
        """The position of the node that computes a tensor; -1 of the network's input."""
        return self._place.get(tensor, -1)

    def outputs(self, position: int) -> tuple[str, ...]:
        """Of the node behind the cut."""
        return tuple(name for name in self._nodes[position].output if name)

    def crossing(self, position: int) -> tuple[str, ...]:
        """The tensors that are computed before a cut and read behind it."""
        made = (
            name
            for name in (self.input_name, *self._place)
            if name in self._varying and self._place.get(name, -1) < position
        )
        return tuple(name for name in made if self._last_read.get(name, -1) >= position)

    def needed(self, position: int) -> tuple[str, ...]:
        """Those of them that the network's outputs depend on, whoever else reads some; with the
        outputs that are computed before the cut."""
        _, inputs = self._needed(self.output_names, position)
        return tuple(inputs)

    def piece(self, start: int, stop: int, gives: Iterable[str], values: Values) -> onnx.ModelProto:
        """The nodes from ``start`` to before ``stop`` that ``gives`` depend on, as a model.

        Its inputs are the tensors that cross the cut at ``start``, as far as they are needed, with
        the shapes and types that they have in ``values``. Tensors of ``gives`` that are computed
        before ``start`` are not outputs of it, unless they do not depend on the network's input.
        """
        wanted = [
            name
            for name in gives
            if name not in self._varying or start <= self._place.get(name, -1) < stop
        ]
        nodes, inputs = self._needed(wanted, start)
        ordered = [self._nodes[i] for i in sorted(nodes)]
        return build_model(self.model, ordered, {name: values[name] for name in inputs}, wanted)

    def _needed(self, wanted: Iterable[str], start: int) -> tuple[set[int], list[str]]:
        nodes: set[int] = set()
        inputs: dict[str, None] = {}
        pending = list(wanted)
        while pending:
            name = pending.pop()
            place = self._place.get(name)
            if name in self._varying and (place is None or place < start):
                inputs[name] = None
            elif place is not None and place not in nodes:
                nodes.add(place)
                pending.extend(names_read(self._nodes[place]))
        return nodes, list(inputs)

    def _find_varying(self) -> set[str]:
        varying = {self.input_name}
        for node in self._nodes:
            if node.op_type not in ("Shape", "Size") and varying.intersection(names_read(node)):
                varying.update(node.output)
        return varying

    def _find_last_reads(self) -> dict[str, int]:
        """Of every tensor that varies: the last node that reads it, by itself or by way of nodes
        that do not vary (a Shape); the network's outputs are read behind the last node."""
        last: dict[str, int] = {}
        for place, node in enumerate(self._nodes):
            read = {*names_read(node), *self._also_read.get(node.name, ())}
            for name in self._varying_behind(read):
                last[name] = place
        for name in self._varying_behind(self.output_names):
            last[name] = len(self._nodes)
        return last

    def _varying_behind(self, names: Iterable[str]) -> set[str]:
        varying: set[str] = set()
        pending, met = list(names), set[str]()
        while pending:
            name = pending.pop()
            if name in self._varying:
                varying.add(name)
            elif name in self._place and name not in met:
                met.add(name)
                pending.extend(names_read(self._nodes[self._place[name]]))
        return varying


def build_model(
    like: onnx.ModelProto, nodes: list[NodeProto], inputs: Values, gives: Iterable[str]
) -> onnx.ModelProto:
    """A model of ``nodes`` that gives some tensors, with the weights of ``like`` that it needs, and
    its operator sets."""
    given = tuple(gives)
    needed = {*given, *(name for node in nodes for name in names_read(node))}
    graph = helper.make_graph(
        nodes,
        "piece",
        [_value_info(name, array) for name, array in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in given],
        [tensor for tensor in like.graph.initializer if tensor.name in needed],
    )
    model = helper.make_model(graph, opset_imports=like.opset_import, functions=like.functions)
    model.ir_version = like.ir_version
    return model


def _value_info(name: str, array: npt.NDArray[Any]) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype))
    return helper.make_tensor_value_info(name, kind, array.shape)
