"""Precision plans: which nodes stay in float, and which tensors carry Q/DQ, as data."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from onnx import NodeProto

from bench.errors import ConfigError
from bench.model.graph import Graph

Placement = Literal["explicit", "implicit"]


@dataclass(frozen=True)
class PrecisionPlan:
    """What stays in float, as selectors.

    A selector is ``first``, ``head`` or ``depthwise`` (see ``bench.model.graph``), ``op:TYPE`` or
    ``name:REGEX`` (searched in the node's name).
    """

    name: str
    float_selectors: tuple[str, ...] = ()

    def float_nodes(self, graph: Graph) -> frozenset[str]:
        """Names of the nodes kept in float.

        Raises ConfigError for an unknown selector, and for an ``op:`` or ``name:`` without a match.
        """
        return frozenset(
            node for selector in self.float_selectors for node in self._select(selector, graph)
        )

    def _select(self, selector: str, graph: Graph) -> frozenset[str]:
        kind, _, argument = selector.partition(":")
        if kind == "first":
            return graph.first
        if kind == "head":
            return graph.head
        if kind == "depthwise":
            return graph.depthwise
        if kind == "op" and argument:
            return self._matching(selector, lambda node: node.op_type == argument, graph)
        if kind == "name" and argument:
            try:
                pattern = re.compile(argument)
            except re.error as error:
                raise ConfigError(
                    f"plan '{self.name}': '{argument}' is no regular expression ({error})",
                    "Mend the selector, for instance with a backslash before a special character",
                ) from error
            return self._matching(selector, lambda node: bool(pattern.search(node.name)), graph)
        raise ConfigError(
            f"plan '{self.name}' has an unknown selector '{selector}'",
            "Use first, head, depthwise, op:TYPE or name:REGEX",
        )

    def _matching(
        self, selector: str, wanted: Callable[[NodeProto], bool], graph: Graph
    ) -> frozenset[str]:
        names = frozenset(name for name, node in graph.nodes.items() if wanted(node))
        if not names:
            raise ConfigError(
                f"plan '{self.name}': selector '{selector}' matches no node of this model",
                "Check the operator type or name against the ONNX file",
            )
        return names


@dataclass(frozen=True)
class Edge:
    """Where Q/DQ goes: input number ``index`` of ``node``, which reads ``tensor``."""

    node: str
    index: int
    tensor: str


@dataclass(frozen=True)
class QuantizationPoints:
    """A plan applied to one graph: activation edges with Q/DQ, and nodes with INT8 weights."""

    edges: tuple[Edge, ...]
    weighted_nodes: tuple[str, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The activation tensors that need a range, each once, in the order of their first use."""
        return tuple(dict.fromkeys(edge.tensor for edge in self.edges))

    def mac_share(self, graph: Graph) -> float:
        """Share of the graph's multiply-accumulates whose every input is quantized."""
        whole = sum(graph.macs(name) for name in graph.compute)
        quantized = {edge.node for edge in self.edges} & set(graph.compute)
        return sum(graph.macs(name) for name in quantized) / whole


def place(plan: PrecisionPlan, placement: Placement, graph: Graph) -> QuantizationPoints:
    """Decide where Q/DQ goes.

    ``explicit``: at the activation inputs of Conv, ConvTranspose, Gemm and MatMul and at both sides
    of a residual Add (TensorRT developer guide, "Q/DQ Layer-Placement Recommendations").
    ``implicit``: at every activation, as TensorRT up to 10 does with a calibrator.
    A grouped ConvTranspose stays in float: its weights have no axis of output channels.
    Raises ConfigError for an unknown placement and for a plan that leaves nothing quantized.
    """
    kept = plan.float_nodes(graph)
    if placement == "explicit":
        candidates = [*graph.compute, *graph.residual_adds]
    elif placement == "implicit":
        candidates = list(graph.nodes)
    else:
        raise ConfigError(f"placement={placement} is unknown", "Use explicit or implicit")
    edges = tuple(
        Edge(name, index, tensor)
        for name in candidates
        if name not in kept and not graph.is_grouped_transposed(name)
        for index, tensor in enumerate(graph.nodes[name].input)
        if graph.is_activation(tensor)
    )
    if not set(graph.compute) - kept:
        raise ConfigError(
            f"plan '{plan.name}' keeps every layer of this model in float",
            "Choose a plan that leaves something to quantize",
        )
    weighted = tuple(
        name
        for name in graph.compute
        if name not in kept
        and not graph.is_grouped_transposed(name)
        and graph.nodes[name].input[1] in graph.weights
    )
    return QuantizationPoints(edges, weighted)
