"""Layers too narrow for INT8 kernels to be fast, by the rule of NVIDIA ModelOpt."""

from __future__ import annotations

from onnx import NodeProto

from bench.model.graph import Graph, attribute

LEAST_CHANNELS = 16
"""ModelOpt states that INT8 kernels need so many channels; nothing was timed on a GPU here."""


def narrow_layers(graph: Graph) -> frozenset[str]:
    """The products that ModelOpt leaves in float by default, by their names.

    A convolution with fewer than 16 input or output channels (of one group), unless it is
    ungrouped with a square kernel and 8 divides one of the two, of which one has 16 or the input is
    the network's; or grouped with kernels of 3 or more and output channels that 8 divides. A matrix
    product whose K or N is below 16, or that is a vector's. (modelopt/onnx/quantization/
    graph_utils.py, ``find_nodes_from_convs_to_exclude`` and ``find_nodes_from_matmul_to_exclude``,
    main branch of 2026; attention, which it looks for too, is not looked for here.)
    """
    return frozenset(name for name in graph.compute if _is_narrow(graph.nodes[name], graph))


def _is_narrow(node: NodeProto, graph: Graph) -> bool:
    if node.op_type == "Conv":
        return _is_narrow_convolution(node, graph)
    if node.op_type in ("Gemm", "MatMul"):
        return _is_narrow_product(node, graph)
    return False


def _is_narrow_convolution(node: NodeProto, graph: Graph) -> bool:
    if node.input[1] not in graph.weights:
        return True
    outputs, inputs, *kernel = graph.shape(node.input[1])
    if min(outputs, inputs) >= LEAST_CHANNELS:
        return False
    if attribute(node, "group", 1) > 1:
        return not (outputs % 8 == 0 and min(kernel) >= 3)
    wide = max(outputs, inputs) >= LEAST_CHANNELS or graph.input_name in node.input
    divisible = outputs % 8 == 0 or inputs % 8 == 0
    return not (wide and divisible and len(set(kernel)) == 1)


def _is_narrow_product(node: NodeProto, graph: Graph) -> bool:
    output, second = graph.shape(node.output[0]), graph.shape(node.input[1])
    transposed = node.op_type == "Gemm" and attribute(node, "transB", 0)
    inner = second[-1] if transposed or len(second) == 1 else second[-2]
    return min(inner, output[-1]) < LEAST_CHANNELS
