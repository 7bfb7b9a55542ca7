"""Where a file of another tool has Q/DQ, in the names of the FP32 model that it was made from.

Layers are matched by name. Tools that fold or rename layers keep their order: then the n-th
convolution or matrix product of the file is the n-th of the model, if operators and shapes of
weights agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from bench.errors import ModelError
from bench.model.edit import copy_of
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.model.quantized import Product, QuantizedOnnx
from bench.quantization.grid import Range
from bench.quantization.plan import Edge, QuantizationPoints

_SAME = {"Gemm": "MatMul"}
"""A matrix product with a bias may be written in both ways."""


@dataclass(frozen=True, eq=False)
class GivenPoints:
    """``points`` and ``ranges`` are those of the FP32 graph; ``proto`` is the file with the FP32
    names of its convolutions and matrix products."""

    points: QuantizationPoints
    ranges: dict[str, Range]
    proto: onnx.ModelProto


def check_same_input(quantized: QuantizedOnnx, network: OnnxModel) -> None:
    """Raise ModelError if a file has another input shape or other outputs than the model."""
    theirs, ours = quantized.input_shape, network.input_shape
    if theirs[1:] != ours[1:]:
        raise ModelError(
            f"{quantized.path} takes images of {theirs[2]}x{theirs[3]}, and the FP32 model "
            f"{ours[2]}x{ours[3]}",
            "Give the FP32 file that it was made from as model.path",
        )
    if len(quantized.proto.graph.output) != len(network.output_names):
        raise ModelError(
            f"{quantized.path} has {len(quantized.proto.graph.output)} outputs, and the FP32 model "
            f"{len(network.output_names)}",
            "Give the FP32 file that it was made from as model.path",
        )


def match_given(quantized: QuantizedOnnx, graph: Graph) -> GivenPoints:
    """A file's quantization in terms of the FP32 model; ModelError if it was not made from it."""
    names = _names(quantized, graph)
    known = {name: name for name in graph.nodes.keys() - set(graph.compute)} | names
    edges, ranges = [], dict[str, Range]()
    for (node, index), range_ in quantized.edges.items():
        ours = graph.nodes.get(known.get(node, ""))
        if ours is None or index >= len(ours.input) or not graph.is_activation(ours.input[index]):
            continue
        if ours.name in graph.compute or ours.name in graph.residual_adds:
            edges.append(Edge(ours.name, index, ours.input[index]))
        ranges[ours.input[index]] = _range(range_)
    for tensor, range_ in quantized.tensors.items():
        name = _ours(tensor, quantized, known, graph)
        if graph.is_activation(name):
            ranges.setdefault(name, _range(range_))
    edges = [edge for edge in edges if _is_int8(edge, quantized, names, graph)]
    weighted = tuple(names[p.name] for p in quantized.products if p.name in quantized.weighted)
    quantized_nodes = {edge.node for edge in edges}
    points = QuantizationPoints(
        tuple(edges),
        tuple(name for name in weighted if name in quantized_nodes),
        {edge.tensor: (edge.tensor,) for edge in edges},
    )
    if not points.products(graph):
        raise ModelError(
            f"{quantized.path} has no convolution or matrix product in INT8",
            "Give a file whose weights and activations are 8-bit integers",
        )
    return GivenPoints(points, ranges, _renamed(quantized, names))


def _ours(tensor: str, quantized: QuantizedOnnx, known: dict[str, str], graph: Graph) -> str:
    """What the FP32 model calls a tensor of the file: that of its name, or what the same node makes
    (ONNX Runtime renames an output of the network that it quantizes)."""
    if graph.is_activation(tensor) or tensor not in quantized.makers:
        return tensor
    maker, index = quantized.makers[tensor]
    node = graph.nodes.get(known.get(maker, ""))
    return node.output[index] if node is not None and index < len(node.output) else tensor


def _is_int8(edge: Edge, quantized: QuantizedOnnx, names: dict[str, str], graph: Graph) -> bool:
    """A product whose weights stay in float is not in INT8, whatever its input is."""
    if edge.node not in graph.compute or graph.nodes[edge.node].input[1] not in graph.weights:
        return True
    return edge.node in {names[name] for name in quantized.weighted}


def _range(ends: tuple[float, float]) -> Range:
    """Symmetric int8 as amax, everything else as it is."""
    low, high = ends
    return high if abs(low + high * 128 / 127) <= 1e-6 * high else (low, high)


def _names(quantized: QuantizedOnnx, graph: Graph) -> dict[str, str]:
    """The file's names of its products, and the FP32 graph's of the same."""
    theirs = quantized.products
    ours = [_product(name, graph) for name in graph.compute]
    by_name = {product.name: product for product in ours}
    if len(theirs) == len(ours):
        if all(p.name in by_name and _alike(p, by_name[p.name]) for p in theirs):
            return {product.name: product.name for product in theirs}
        if all(_alike(a, b) for a, b in zip(theirs, ours, strict=True)):
            return {a.name: b.name for a, b in zip(theirs, ours, strict=True)}
    raise ModelError(
        f"{quantized.path} has {len(theirs)} convolutions and matrix products that are not those "
        f"of the FP32 model ({len(ours)})",
        "Give the FP32 file that it was made from as model.path",
    )


def _product(name: str, graph: Graph) -> Product:
    node = graph.nodes[name]
    weights = graph.weights.get(node.input[1])
    return Product(name, node.op_type, tuple(weights.dims) if weights is not None else ())


def _alike(a: Product, b: Product) -> bool:
    """Weights of a matrix product may be transposed, and computed ones have no shape."""
    same_kind = _SAME.get(a.op_type, a.op_type) == _SAME.get(b.op_type, b.op_type)
    return same_kind and sorted(a.weights) == sorted(b.weights)


def _renamed(quantized: QuantizedOnnx, names: dict[str, str]) -> onnx.ModelProto:
    if all(theirs == ours for theirs, ours in names.items()):
        return quantized.proto
    renamed = copy_of(quantized.proto)
    taken = set(names.values())
    for node in renamed.graph.node:
        if node.name in names:
            node.name = names[node.name]
        elif node.name in taken:
            node.name = f"{node.name}/other"
    return renamed
