"""What an ONNX file says of itself, before any image is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.model.graph import Graph, attribute
from bench.model.onnx_file import read_proto
from bench.model.onnx_model import OLDEST_OPSET, OnnxModel

_ELEMENTWISE = frozenset({"Sub", "Div", "Mul", "Add", "BatchNormalization"})
_SMALLEST_SHARE = 0.9
"""Of the weights that have to lie on a grid before a model is said to have been quantized."""


@dataclass(frozen=True)
class ModelFacts:
    """``opset`` is the file's, ``noted`` what its exporter wrote into it.

    ``multiply_accumulates`` and ``products`` (convolutions and matrix products) are for one image;
    ``n_weights`` counts numbers, in initializers. ``doubts`` are lines about what looks wrong.
    """

    opset: int
    producer: str
    noted: Mapping[str, str]
    products: int
    multiply_accumulates: int
    n_weights: int
    doubts: tuple[str, ...]


def model_facts(model: OnnxModel, graph: Graph) -> ModelFacts:
    """Raises ModelError for a shape that cannot be inferred, and for a file that is gone."""
    proto = read_proto(model.path)
    noted = {entry.key: entry.value for entry in proto.metadata_props}
    opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)
    return ModelFacts(
        opset,
        " ".join(part for part in (proto.producer_name, proto.producer_version) if part),
        noted,
        len(graph.compute),
        sum(graph.macs(name) for name in graph.compute),
        sum(int(np.prod(tensor.dims)) for tensor in graph.weights.values()),
        tuple(_doubts(model, graph, opset, noted)),
    )


def _doubts(model: OnnxModel, graph: Graph, opset: int, noted: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    batch = model.input_shape[0]
    if not graph.compute:
        found.append("there is no Conv, Gemm or MatMul: nothing to quantize")
    if batch not in (None, 1):
        found.append(
            f"the batch is fixed at {batch}: add evaluation.batch_size={batch}, or export it open"
        )
    if opset < OLDEST_OPSET:
        found.append(
            f"opset {opset} has no per-channel QuantizeLinear: it is raised to {OLDEST_OPSET}"
        )
    if noted.get("task") not in (None, "detect", "classify"):
        found.append(
            f"the file says task={noted['task']}: only boxes and classes can be evaluated here"
        )
    if inside := _scaling_inside(graph):
        found.append(
            f"{inside} scales the input inside the network: images may be wanted as 0 to 255"
        )
    share = _share_on_grid(graph)
    if share >= _SMALLEST_SHARE:
        found.append(
            "its weights lie on an 8-bit grid per channel: they were quantized before, and lose "
            "nothing by it now"
        )
    return found


def _scaling_inside(graph: Graph) -> str:
    """The first node that scales or shifts the network's input in front of all products."""
    tensor = graph.input_name
    while True:
        nodes = [node for node in graph.consumers.get(tensor, []) if node.op_type != "Shape"]
        if len(nodes) != 1 or nodes[0].name in graph.compute:
            return ""
        if nodes[0].op_type in _ELEMENTWISE:
            return nodes[0].op_type
        tensor = nodes[0].output[0]


def _share_on_grid(graph: Graph) -> float:
    """The share of convolutions whose weights are, in each output channel, of 256 values
    at most; the largest convolutions alone are looked at."""
    kernels = [
        graph.weight(graph.nodes[name].input[1])
        for name in graph.compute
        if graph.nodes[name].op_type == "Conv"
        and attribute(graph.nodes[name], "group", 1) == 1
        and graph.nodes[name].input[1] in graph.weights
    ]
    largest = sorted(kernels, key=lambda kernel: kernel.size, reverse=True)[:5]
    return float(np.mean([_on_grid(kernel) for kernel in largest])) if largest else 0.0


def _on_grid(kernel: npt.NDArray[np.float32]) -> bool:
    """Of random weights a channel with hundreds of them has hundreds of different values."""
    rows = kernel.reshape(len(kernel), -1)
    if rows.shape[1] < 512:
        return False
    return all(len(np.unique(row)) <= 256 for row in rows[:8])
