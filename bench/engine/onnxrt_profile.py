"""Times of the nodes that ONNX Runtime runs, and the nodes of the ONNX file behind each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from bench.engine.base import Array, LayerTime

WARM_UP = 3

_KERNEL, _BLOCKED = "_kernel_time", "_nchwc"
"""Suffixes of an event of the profile, and of a node that uses blocks of channels."""


INT8_OPS = frozenset(
    {
        "QLinearConv",
        "QLinearMatMul",
        "QGemm",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
    }
)
FLOAT_OPS = frozenset(
    {"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
)


def products_by_tensor(graph: onnx.GraphProto) -> tuple[dict[str, str], dict[str, str]]:
    """The products of a Q/DQ file: by the quantized weights that they read; those without, by the
    tensor that they make, and by that tensor quantized.

    Fused nodes keep no name, but read the quantized weights of one node. A product of two
    activations has none; it makes that node's output, or its quantized one.
    """
    weights = {initializer.name for initializer in graph.initializer}
    stored = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights
    }
    reader, maker = dict[str, str](), dict[str, str]()
    for node in graph.node:
        if node.op_type in FLOAT_OPS:
            read = [stored[name] for name in node.input if name in stored]
            reader.update(dict.fromkeys(read, node.name))
            maker.update({} if read else dict.fromkeys(node.output, node.name))
        elif node.op_type == "QuantizeLinear" and node.input[0] in maker:
            maker[node.output[0]] = maker[node.input[0]]
    return reader, maker


def measure_layers(
    content: bytes, options: ort.SessionOptions, providers: Sequence[Any], batch: Array, runs: int
) -> list[LayerTime]:
    """Least times over ``runs`` inferences of the serialized model ``content``.

    Without nodes that ran in no more than the first inferences, as in a branch that is not taken.
    """
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        try:
            session = ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
        finally:
            options.enable_profiling = False
            options.optimized_model_filepath = ""
        name = session.get_inputs()[0].name
        for _ in range(WARM_UP + runs):
            session.run(None, {name: batch})
        events = json.loads(Path(session.end_profiling()).read_text())
        optimized = onnx.load(Path(folder) / "optimized.onnx").graph
    nodes = _nodes_of(optimized, onnx.load_from_string(content).graph)
    times: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            times.setdefault(event["name"].removesuffix(_KERNEL), []).append(event["dur"] / 1000)
    return [
        LayerTime(nodes.get(name, ()), min(of[WARM_UP:]))
        for name, of in times.items()
        if len(of) > WARM_UP
    ]


def _nodes_of(optimized: onnx.GraphProto, graph: onnx.GraphProto) -> Mapping[str, tuple[str, ...]]:
    """By the name of the optimized node: what it stands for by its weights, by its name or by what
    it makes, or otherwise the nodes that read it."""
    by_weights, by_product = products_by_tensor(graph)
    ours = {name: node.name for node in graph.node for name in (*node.output, node.name)}
    readers: dict[str, list[str]] = {}
    for node in optimized.node:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node.name)
    nodes: dict[str, tuple[str, ...]] = {}
    for node in reversed(optimized.node):  # readers first
        fused = node.op_type in INT8_OPS
        known = [by_weights[name] for name in node.input if fused and name in by_weights]
        known += [by_product[name] for name in node.output if fused and name in by_product]
        known += [ours[n] for n in (node.name.removesuffix(_BLOCKED), *node.output) if n in ours]
        served = (n for out in node.output for r in readers.get(out, ()) for n in nodes.get(r, ()))
        nodes[node.name] = tuple(dict.fromkeys(known or served))
    return nodes
