"""Reading an ONNX graph: which nodes compute, which come first, which make the outputs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, numpy_helper

from bench.errors import ModelError
from bench.model.onnx_model import OnnxModel

COMPUTE_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""The operators with multiply-accumulates, which INT8 speeds up."""

_REARRANGING_OPS = frozenset(
    {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Concat"}
)
"""What gives every value of its inputs on, once."""

MOVING_OPS = _REARRANGING_OPS | {"Split", "Slice"}


class Graph:
    """An index of one model's graph; nodes are identified by name."""

    def __init__(self, model: OnnxModel) -> None:
        graph = model.proto.graph
        self.nodes: dict[str, NodeProto] = {node.name: node for node in graph.node}
        self.input_name = model.input_name
        self.output_names = model.output_names
        self.weights: dict[str, TensorProto] = {t.name: t for t in graph.initializer}
        self.producer: dict[str, NodeProto] = {o: n for n in graph.node for o in n.output}
        consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                consumers[name].append(node)
        self.consumers = dict(consumers)
        self._types: dict[str, onnx.TypeProto.Tensor] = {
            v.name: v.type.tensor_type for v in (*graph.value_info, *graph.input, *graph.output)
        }

    def weight(self, name: str) -> npt.NDArray[np.float32]:
        return np.asarray(numpy_helper.to_array(self.weights[name]))

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Static shape of a tensor at batch size 1; raises ModelError if inference found none."""
        if tensor in self.weights:
            return tuple(self.weights[tensor].dims)
        dims = self._types[tensor].shape.dim if tensor in self._types else []
        if not dims or any(not d.HasField("dim_value") for d in dims):
            raise ModelError(
                f"the shape of tensor '{tensor}' cannot be inferred",
                "Simplify the model (for instance with onnxsim) and try again",
            )
        return tuple(d.dim_value for d in dims)

    def order(self, tensors: Iterable[str]) -> list[str]:
        """``tensors`` sorted as the network computes them."""
        return sorted(tensors, key=lambda name: self._places.get(name, -1))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, node in enumerate(self.nodes.values()) for name in node.output}

    def is_activation(self, tensor: str) -> bool:
        """A float tensor that depends on the network's input."""
        if not tensor or tensor not in self.from_input:
            return False
        kind = self._types[tensor].elem_type if tensor in self._types else TensorProto.FLOAT
        return kind == TensorProto.FLOAT

    def parts(self, tensor: str) -> tuple[str, ...]:
        """The tensors whose values together are those of ``tensor``; the tensor itself if there are
        none.

        A Concat has the values of its inputs, a Transpose or Reshape those of the one it moves, and
        what a Split cuts those of its outputs.
        """
        cuts = [node for node in self.consumers.get(tensor, []) if node.op_type == "Split"]
        if cuts and self.is_activation(tensor):
            return tuple(part for name in cuts[0].output for part in self.parts(name))
        node = self.producer.get(tensor)
        if node is not None and node.op_type in _REARRANGING_OPS:
            moved = node.input if node.op_type == "Concat" else node.input[:1]
            if all(self.is_activation(name) for name in moved):
                return tuple(part for name in moved for part in self.parts(name))
        return (tensor,)

    def is_computed_with(self, tensor: str) -> bool:
        """Whether more is done with ``tensor`` than to rearrange it into the network's outputs."""
        return any(
            node.op_type not in _REARRANGING_OPS or self.is_computed_with(node.output[0])
            for node in self.consumers.get(tensor, [])
        )

    @cached_property
    def from_input(self) -> frozenset[str]:
        """Tensors computed from the network's input (not from its shape alone)."""
        reached = {self.input_name}
        for node in self.nodes.values():
            if node.op_type not in ("Shape", "Size") and reached.intersection(node.input):
                reached.update(node.output)
        return frozenset(reached)

    @cached_property
    def compute(self) -> tuple[str, ...]:
        """Names of the nodes that carry multiply-accumulates, in topological order."""
        return tuple(
            name
            for name, node in self.nodes.items()
            if node.op_type in COMPUTE_OPS and self.is_activation(node.input[0])
        )

    @cached_property
    def first(self) -> frozenset[str]:
        """Compute nodes that the network's input reaches without passing another one."""
        return self._reach([self.input_name], self._nodes_after, self._stops) & set(self.compute)

    @cached_property
    def head(self) -> frozenset[str]:
        """The nodes that produce the outputs: the last compute nodes on every path, and all behind.

        A distribution layer (DFL: a fixed convolution on a Softmax, Generalized Focal Loss, arXiv
        2006.04388) only decodes what the convolutions before it produced; it belongs to the head,
        and so do they.
        """
        return self._reach(self.output_names, self._nodes_before, self._stops)

    @cached_property
    def depthwise(self) -> frozenset[str]:
        """Convolutions in which every group sees a single input channel."""
        return frozenset(
            name
            for name in self.compute
            if self.nodes[name].op_type == "Conv"
            and attribute(self.nodes[name], "group", 1) > 1
            and self.shape(self.nodes[name].input[1])[1] == 1
        )

    @cached_property
    def residual_adds(self) -> tuple[str, ...]:
        """Additions of two activations of one shape, with a compute node still to come."""
        before_compute: set[str] = set()
        for name in reversed(list(self.nodes)):
            after = [n for o in self.nodes[name].output for n in self.consumers.get(o, [])]
            if any(self._stops(n.name) or n.name in before_compute for n in after):
                before_compute.add(name)
        return tuple(
            name
            for name, node in self.nodes.items()
            if node.op_type == "Add"
            and name in before_compute
            and all(self.is_activation(tensor) for tensor in node.input)
            and self.shape(node.input[0]) == self.shape(node.input[1])
        )

    def is_grouped_transposed(self, name: str) -> bool:
        """A ConvTranspose in groups: its weight counts the output channels of one group only."""
        node = self.nodes[name]
        return node.op_type == "ConvTranspose" and attribute(node, "group", 1) > 1

    def macs(self, name: str) -> int:
        """Multiply-accumulates of one compute node for one image."""
        node = self.nodes[name]
        outputs = math.prod(self.shape(node.output[0]))
        if node.op_type == "Conv":
            return outputs * math.prod(self.shape(node.input[1])[1:])
        if node.op_type == "ConvTranspose":
            return math.prod(self.shape(node.input[0])) * math.prod(self.shape(node.input[1])[1:])
        inner = -2 if node.op_type == "Gemm" and attribute(node, "transA", 0) else -1
        return outputs * self.shape(node.input[0])[inner]

    def _stops(self, name: str) -> bool:
        return name in self.compute and not self._is_distribution_layer(name)

    def _is_distribution_layer(self, name: str) -> bool:
        node = self.nodes[name]
        if node.op_type != "Conv" or self.shape(node.input[1])[0] != 1:
            return False
        before: NodeProto | None = self.producer.get(node.input[0])
        while before is not None and before.op_type in MOVING_OPS:
            before = self.producer.get(before.input[0])
        return before is not None and before.op_type == "Softmax"

    def _nodes_after(self, tensor: str) -> Iterable[tuple[NodeProto, Iterable[str]]]:
        return ((node, node.output) for node in self.consumers.get(tensor, []))

    def _nodes_before(self, tensor: str) -> Iterable[tuple[NodeProto, Iterable[str]]]:
        node = self.producer.get(tensor)
        return [] if node is None else [(node, node.input)]

    def _reach(
        self,
        start: Iterable[str],
        step: Callable[[str], Iterable[tuple[NodeProto, Iterable[str]]]],
        stops: Callable[[str], bool],
    ) -> frozenset[str]:
        """Walk the graph from tensors until ``stops``; every node met is in the answer."""
        met: set[str] = set()
        pending = list(start)
        while pending:
            for node, onwards in step(pending.pop()):
                if node.name not in met:
                    met.add(node.name)
                    if not stops(node.name):
                        pending.extend(onwards)
        return frozenset(met)


def attribute(node: NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node, or its default."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)
