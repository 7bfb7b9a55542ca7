"""The layers that INT8 makes slower: an engine's profile in the names of the network's layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import onnx

from bench.engine.base import LayerTime
from bench.model.graph import COMPUTE_OPS
from bench.results.plan_latency import LayerCost

_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


def slower_in_int8(
    int8: Mapping[str, float], fp32: Mapping[str, float], layers: Collection[str]
) -> tuple[LayerCost, ...]:
    """Those of ``layers`` whose INT8 takes longer than FP32, first the one with the most to gain;
    both profiles in milliseconds by layer, as ``times_by_layer`` makes them."""
    costs = [LayerCost(name, int8.get(name, 0.0), fp32.get(name, 0.0)) for name in layers]
    slow = [cost for cost in costs if cost.gain_ms > 0]
    return tuple(sorted(slow, key=lambda cost: (-cost.gain_ms, cost.name)))


def times_by_layer(
    model: onnx.ModelProto, layers: Collection[str], times: Sequence[LayerTime]
) -> dict[str, float]:
    """Milliseconds of each of ``layers`` (nodes that a plan can quantize), with what serves it.

    A QuantizeLinear or DequantizeLinear serves the layers that read its values, or the layer before
    if none does. Any other node counts with the layer before it. What is fused into a product
    counts with the product. What serves several layers is divided equally.
    """
    operators = {node.name: node.op_type for node in model.graph.node}
    owners = _owners(model.graph, frozenset(layers))
    sums: dict[str, float] = defaultdict(float)
    for time in times:
        inside = [name for name in time.nodes if name in layers]
        products = [name for name in inside if operators.get(name) in COMPUTE_OPS]
        served = [owner for name in time.nodes for owner in owners.get(name, ())]
        names = tuple(dict.fromkeys(products or inside or served))
        for name in names:
            sums[name] += time.milliseconds / len(names)
    return dict(sums)


def _owners(graph: onnx.GraphProto, layers: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """The layers with which a node counts; none for a node before all of them."""
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    before: dict[str, tuple[str, ...]] = {}
    for node in graph.node:  # inputs first
        for tensor in node.input:
            readers[tensor].append(node)
        sources = (before[makers[tensor].name] for tensor in node.input if tensor in makers)
        before[node.name] = (node.name,) if node.name in layers else next(filter(None, sources), ())
    after: dict[str, tuple[str, ...]] = {}
    for node in reversed(graph.node):  # readers first
        reading = [reader for output in node.output for reader in readers[output]]
        after[node.name] = tuple(
            dict.fromkeys(
                name
                for reader in reading
                for name in ((reader.name,) if reader.name in layers else after[reader.name])
                if reader.name in layers or reader.op_type in _QDQ
            )
        )
    return {
        node.name: (after[node.name] if node.op_type in _QDQ else ()) or before[node.name]
        for node in graph.node
    }
