"""Changed copies of ONNX files: the building blocks of quantization and of engines."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush

import onnx
from onnx import NodeProto


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that may be changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def set_nodes(graph: onnx.GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Replace the graph's nodes by these, in this order; they may include present nodes."""
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put every node behind those that make its inputs, as ONNX requires; else keep the order.

    Some quantizers write nodes in another order (AMD Quark 0.13, XINT8), and ONNX Runtime takes
    that. Raises ``graphlib.CycleError`` for a cycle.
    """
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output}
    sorter = TopologicalSorter(
        {
            number: {makers[name] for name in node.input if name and name in makers}
            for number, node in enumerate(graph.node)
        }
    )
    sorter.prepare()
    order, ready = list[int](), list[int]()
    while sorter.is_active():
        for number in sorter.get_ready():
            heappush(ready, number)
        order.append(heappop(ready))
        sorter.done(order[-1])
    if order != sorted(order):
        set_nodes(graph, [graph.node[number] for number in order])


def with_batch(model: onnx.ModelProto, input_name: str, batch: int) -> onnx.ModelProto:
    """A copy whose input has a fixed batch size; the engine infers the other shapes."""
    fixed = copy_of(model)
    for value in fixed.graph.input:
        if value.name == input_name:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    del fixed.graph.value_info[:]
    return fixed


def with_open_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose inputs take any batch."""
    opened = copy_of(model)
    weights = {tensor.name for tensor in opened.graph.initializer}
    for value in opened.graph.input:
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return opened


def drop_unused_initializers(model: onnx.ModelProto) -> None:
    """Remove tensors that no node reads."""
    used = {name for node in model.graph.node for name in names_read(node)}
    read = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(read)


def names_read(node: NodeProto) -> set[str]:
    """The tensors that a node reads, those in the branches of an If or the body of a Loop as well,
    as far as these do not have them themselves."""
    names = {name for name in node.input if name}
    for inner in node.attribute:
        if inner.type == onnx.AttributeProto.GRAPH:
            inside = {tensor.name for tensor in (*inner.g.initializer, *inner.g.input)}
            inside |= {name for each in inner.g.node for name in each.output}
            names |= {name for each in inner.g.node for name in names_read(each)} - inside
    return names
