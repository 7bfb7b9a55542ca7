"""Precision plans: which nodes stay in float, and which tensors carry Q/DQ, as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from onnx import NodeProto

from bench.errors import ConfigError
from bench.model.fusion import taken_sums
from bench.model.graph import Graph
from bench.model.narrow import narrow_layers
from bench.quantization.grid import Range, widest

Placement = Literal["explicit", "explicit_residual", "implicit", "implicit_tensorrt10"]

IMPLICIT: frozenset[Placement] = frozenset({"implicit", "implicit_tensorrt10"})
"""The placements that give every activation a range."""

_PROPAGATING_OPS = frozenset({"MaxPool", "Concat"})


@dataclass(frozen=True)
class PrecisionPlan:
    """What stays in float, as selectors.

    A selector is ``first``, ``head`` or ``depthwise`` (see ``bench.model.graph``), ``narrow``
    (``bench.model.narrow``), ``op:TYPE``,
    ``name:REGEX`` (searched in the node's name) or ``node:NAME`` (the whole name).
    """

    name: str
    float_selectors: tuple[str, ...] = ()
    note: str = field(default="", repr=False, compare=False)
    """For the row: what is known of the plan that its layers do not say. Not part of any key."""

    def float_nodes(self, graph: Graph) -> frozenset[str]:
        """Names of the nodes kept in float.

        Raises ConfigError for an unknown selector, and for one that matches nothing in the model.
        """
        selectors = map(str, self.float_selectors)  # configuration may give a number
        return frozenset(node for selector in selectors for node in self._select(selector, graph))

    def _select(self, selector: str, graph: Graph) -> frozenset[str]:
        kind, _, argument = selector.partition(":")
        if kind == "first":
            return graph.first
        if kind == "head":
            return graph.head
        if kind == "depthwise":
            return graph.depthwise
        if kind == "narrow":
            return narrow_layers(graph)
        if kind == "op" and argument:
            return self._matching(selector, lambda node: node.op_type == argument, graph)
        if kind == "node" and argument:
            return self._matching(selector, lambda node: node.name == argument, graph)
        if kind == "name" and argument:
            try:
                pattern = re.compile(argument)
            except re.error as error:
                raise ConfigError(
                    f"plan '{self.name}': '{argument}' is not a regular expression ({error})",
                    "Fix the selector, for instance with a backslash before a special character",
                ) from error
            return self._matching(selector, lambda node: bool(pattern.search(node.name)), graph)
        raise ConfigError(
            f"plan '{self.name}' has an unknown selector '{selector}'",
            "Use first, head, depthwise, narrow, op:TYPE, name:REGEX or node:NAME",
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
    """A plan applied to one graph: activation edges with Q/DQ, and nodes with INT8 weights.

    ``sources`` has every tensor that gets a range, in the order of first use, with the tensors
    whose ranges make it: mostly itself.
    """

    edges: tuple[Edge, ...]
    weighted_nodes: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The activation tensors that carry Q/DQ, each once, in the order of their first use."""
        return tuple(dict.fromkeys(edge.tensor for edge in self.edges))

    @property
    def measured(self) -> frozenset[str]:
        """The tensors whose statistics are used."""
        return frozenset(source for sources in self.sources.values() for source in sources)

    def widest(self, ranges: Mapping[str, Range]) -> dict[str, Range]:
        """Every tensor's range: the smallest one that contains the ranges of its sources."""
        return {
            tensor: widest(*(ranges[source] for source in sources))
            for tensor, sources in self.sources.items()
        }

    def products(self, graph: Graph) -> frozenset[str]:
        """The convolutions and matrix products whose every input is quantized."""
        return frozenset(edge.node for edge in self.edges) & frozenset(graph.compute)

    def mac_share(self, graph: Graph) -> float:
        """Their share of the graph's multiply-accumulates."""
        whole = sum(graph.macs(name) for name in graph.compute)
        return sum(graph.macs(name) for name in self.products(graph)) / whole


def place(
    plan: PrecisionPlan,
    placement: Placement,
    graph: Graph,
    inside: frozenset[str] = frozenset(),
) -> QuantizationPoints:
    """Decide where Q/DQ is placed, and which range applies there.

    ``explicit``: at the activation inputs of Conv, ConvTranspose, Gemm and MatMul and at both sides
    of a residual Add, so that the sum is one of two INT8 tensors.
    ``explicit_residual``: the same, but of a residual Add that a convolution can take in
    (``taken_sums``) only at the residual. That is NVIDIA's advice for TensorRT 8 to 10:

    - developer guide 8.x, "Q/DQ Layer-Placement Recommendations": "Quantize the residual input in
      skip-connections"; not the output of a weighted layer. The fused layer's output is INT8 if the
      residual is. A figure calls a pair behind the convolution suboptimal: it keeps the Add apart.
    - 10.x, "Working with Quantized Types": the same recommendations. (8.x names the Add's first
      input as the one that decides, 10.x its second: nothing here depends on that order. The page
      of 11 has not been compared.)
    - pytorch-quantization, "Quantizing ResNet50", "Further optimization": one quantizer, on the
      residual input. The TensorFlow toolkit's ``ResNetV1QDQCase`` does the same.
    - ModelOpt's ONNX path: pull request 425 removes Q/DQ from the other input; 450 takes
      Conv, Sigmoid, Mul in front of the Add for a convolution too.

    ``implicit``: at every activation, as TensorRT up to 10 does with a calibrator, with ranges
    shared as in caches of 7.1. The network's
    outputs get a range too, as in TensorRT's caches, but no Q/DQ. And the inputs of a MaxPool or
    Concat take the range of its output, so that it needs no rescaling; see ``_from_outputs``.
    ``implicit_tensorrt10``: the same with what caches of TensorRT 10 share; see ``_from_inputs``.
    ``inside`` are tensors without a range: those inside fused layers, for calibrators that look
    after fusion.
    A grouped ConvTranspose stays in float: its weights have no axis of output channels.
    Raises ConfigError for a plan that leaves nothing quantized.
    """
    float_nodes = plan.float_nodes(graph)
    implicit = placement in IMPLICIT
    candidates = list(graph.nodes) if implicit else [*graph.compute, *graph.residual_adds]
    taken = taken_sums(graph) if placement == "explicit_residual" else {}
    edges = tuple(
        Edge(name, index, tensor)
        for name in candidates
        if name not in float_nodes and not graph.is_grouped_transposed(name)
        for index, tensor in enumerate(graph.nodes[name].input)
        if graph.is_activation(tensor) and tensor not in inside and taken.get(name) != tensor
    )
    if not set(graph.compute) - float_nodes:
        raise ConfigError(
            f"plan '{plan.name}' keeps every layer of this model in float",
            "Choose a plan that leaves something to quantize",
        )
    weighted = tuple(
        name
        for name in graph.compute
        if name not in float_nodes
        and not graph.is_grouped_transposed(name)
        and graph.nodes[name].input[1] in graph.weights
    )
    tensors = dict.fromkeys(edge.tensor for edge in edges)
    sources: dict[str, tuple[str, ...]] = {tensor: (tensor,) for tensor in tensors}
    if implicit:
        tensors.update(dict.fromkeys(filter(graph.is_activation, graph.output_names)))
        share = _from_outputs if placement == "implicit" else _from_inputs
        sources = share(tuple(tensors), float_nodes, graph)
    quantized = {(edge.node, edge.index) for edge in edges}
    return QuantizationPoints(
        edges, tuple(name for name in weighted if (name, 0) in quantized), sources
    )


def _from_outputs(
    tensors: tuple[str, ...], float_nodes: frozenset[str], graph: Graph
) -> dict[str, tuple[str, ...]]:
    """The tensor whose range each tensor takes: the output's through MaxPool and Concat.

    NVIDIA's description for MLPerf says so (mlcommons/inference, "example writeup.adoc"), and the
    public caches of TensorRT 7.1 show it: calib_yolov4-int8-608.cache has one scale for a
    spatial-pyramid's input, its three pools and their concatenation, and one for each other route
    and both of its inputs, but another before an upsampling. Of a tensor that several of them read
    calib_yolov3-tiny-int8-416.cache has one (009_convolutional_lrelu, into a pool and a route): it
    takes the wider range, which clips nothing that either keeps. A cache of 8.5.1 no longer shows
    ranges propagated (the three Concats of retina_plate.cache have other scales than all of their
    inputs): for engine=tensorrt, 8.5 and later, ``_from_inputs`` stands instead.

    A concatenation that only ends in the network's outputs is no INT8 layer, and takes nothing: it
    joins what has no scale in common, such as boxes in pixels and scores below one.
    """
    known = {tensor for tensor in tensors if graph.is_computed_with(tensor)}
    shared: dict[str, tuple[str, ...]] = {}

    def look(tensor: str) -> tuple[str, ...]:
        if tensor not in shared:
            outputs = [
                node.output[0]
                for node in graph.consumers.get(tensor, [])
                if node.op_type in _PROPAGATING_OPS
                and node.name not in float_nodes
                and node.output[0] in known
            ]
            merged = (source for output in outputs for source in look(output))
            shared[tensor] = tuple(dict.fromkeys(merged)) or (tensor,)
        return shared[tensor]

    for tensor in reversed(graph.order(tensors)):  # outputs first: no deep recursion
        look(tensor)
    return {tensor: shared[tensor] for tensor in tensors}


def _from_inputs(
    tensors: tuple[str, ...], float_nodes: frozenset[str], graph: Graph
) -> dict[str, tuple[str, ...]]:
    """The tensor whose range each tensor takes: the input's through MaxPool, otherwise its own.

    Six public caches of TensorRT 10 (10.3, 10.12, 10.14.1; YOLOs) show both. The three pools of
    each spatial pyramid have the scale of its input. (In the one whose images are known the pools'
    thresholds would be 6 % larger.) Of the 87 Concats 52 share their scale with no tensor, and 27
    with one.
    """
    shared: dict[str, tuple[str, ...]] = {}
    for tensor in graph.order(tensors):  # inputs first
        node, source = graph.producer.get(tensor), tensor
        if node is not None and node.op_type == "MaxPool" and node.name not in float_nodes:
            source = node.input[0]
        shared[tensor] = shared.get(source, (tensor,))
    return {tensor: shared[tensor] for tensor in tensors}
