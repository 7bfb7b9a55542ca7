"""Times of the layers of a network in OpenVINO, and the ONNX nodes behind each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import openvino as ov

from bench.engine.base import Array, LayerTime

_SUFFIXES = ("_original", "/DequantizationMultiply", "/WithoutBiases")
"""Suffixes that OpenVINO appends when it splits a bias or a scale off a product, the last first."""

WARM_UP = 3


def plain_name(name: str) -> str:
    """The name of an operation without what OpenVINO appends."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def measure_layers(
    compiled: ov.CompiledModel, model: onnx.ModelProto, batch: Array, runs: int
) -> list[LayerTime]:
    """Least times over ``runs`` inferences of a network that was compiled with PERF_COUNT.

    A layer without ONNX nodes, such as a Reorder, has those of the layers that read it.
    """
    nodes = _nodes_of_layers(compiled, model)
    request = compiled.create_infer_request()
    for _ in range(WARM_UP):
        request.infer([batch], share_inputs=True)
    times: dict[str, list[float]] = {}
    for _ in range(runs):
        request.infer([batch], share_inputs=True)
        for layer in request.get_profiling_info():
            if layer.status == ov.ProfilingInfo.Status.EXECUTED:
                milliseconds = 1000 * layer.real_time.total_seconds()
                times.setdefault(layer.node_name, []).append(milliseconds)
    return [LayerTime(nodes.get(name, ()), min(of)) for name, of in times.items()]


def _nodes_of_layers(
    compiled: ov.CompiledModel, model: onnx.ModelProto
) -> Mapping[str, tuple[str, ...]]:
    """By the name of the layer."""
    ours = {name: node.name for node in model.graph.node for name in (*node.output, node.name)}
    nodes: dict[str, tuple[str, ...]] = {}
    for layer in reversed(compiled.get_runtime_model().get_ordered_ops()):  # readers first
        fused = layer.get_rt_info()["originalLayersNames"].astype(str).split(",")
        known = (ours[plain_name(name)] for name in fused if plain_name(name) in ours)
        nodes[layer.get_friendly_name()] = tuple(dict.fromkeys(known)) or _of_readers(layer, nodes)
    return nodes


def _of_readers(layer: Any, nodes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    readers = (
        target.get_node() for output in layer.outputs() for target in output.get_target_inputs()
    )
    found = (node for reader in readers for node in nodes.get(reader.get_friendly_name(), ()))
    return tuple(dict.fromkeys(found))
