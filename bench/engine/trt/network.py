"""From an ONNX model to TensorRT's network: parsing, profiles, ranges and precisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import onnx

from bench.engine.trt.build_log import Log, reason, short
from bench.engine.trt.version import has
from bench.errors import ConfigError, EngineError
from bench.model.graph import COMPUTE_OPS

if TYPE_CHECKING:
    from tensorrt_api import (
        Builder,
        IBuilderConfig,
        ILayer,
        INetworkDefinition,
        IOptimizationProfile,
        ITensor,
        TensorRT,
    )

FLOATS = frozenset({"FLOAT", "HALF"})

MOVING = frozenset({
    "CONCATENATION", "GATHER", "IDENTITY", "SHAPE", "SHUFFLE", "SLICE", "SQUEEZE", "UNSQUEEZE",
})  # fmt: skip
"""Kinds of layers that move values without computing: ONNX's Concat, Reshape, Split and so on. By
name, since not every version has all of them."""


def make_builder(trt: TensorRT, log: Log) -> Builder:
    """ConfigError where there is no driver: TensorRT then raises a bare TypeError."""
    try:
        return trt.Builder(log)
    except TypeError as error:
        raise ConfigError(
            f"TensorRT {trt.__version__} cannot start a builder ({reason(log)})",
            "It needs an NVIDIA GPU and a driver for its CUDA version",
        ) from error


def parse_network(
    trt: TensorRT, log: Log, builder: Builder, model: onnx.ModelProto, strong: bool
) -> INetworkDefinition:
    """The network; ``strong``: the types are those of the ONNX file, and no flag changes them.

    Raises EngineError with the parser's first error.
    """
    flags = 0
    if has(trt, "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if strong:
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model.SerializeToString()):
        said = reason(log)
        if parser.num_errors:
            complaint = parser.get_error(0)
            said = short(complaint.desc())
        raise EngineError(f"TensorRT cannot parse the model ({said})")
    return network


def input_shape(network: INetworkDefinition) -> tuple[int, ...]:
    """The batch of the network's input; -1 where it is open."""
    return tuple(network.get_input(0).shape)


def add_profile(
    builder: Builder, network: INetworkDefinition, config: IBuilderConfig, batches: tuple[int, ...]
) -> IOptimizationProfile | None:
    """Let an open batch be from the first to the last of ``batches``, best at the second.

    Gives the profile; None for a batch that is not open.

    Raises EngineError where more than the batch is open.
    """
    tensor = network.get_input(0)
    batch, *rest = input_shape(network)
    if batch != -1:
        return None
    if -1 in rest:
        raise EngineError(
            f"input '{tensor.name}' has an open size", "Export the model with a fixed size"
        )
    profile = builder.create_optimization_profile()
    profile.set_shape(tensor.name, *((number, *rest) for number in batches))
    config.add_optimization_profile(profile)
    return profile


def set_ranges(network: INetworkDefinition, amax: Mapping[str, float]) -> None:
    """Give every tensor of ``amax`` its dynamic range.

    Raises EngineError if the network has none of them, or does not take a range.
    """
    known = {tensor.name: tensor for tensor in tensors_of(network)}
    ours = [name for name in amax if name in known]
    if not ours:
        raise EngineError("TensorRT's network has none of the calibrated tensors")
    for name in ours:
        if not known[name].set_dynamic_range(-amax[name], amax[name]):
            raise EngineError(f"TensorRT does not take the range {amax[name]} for tensor {name}")


def tensors_of(network: INetworkDefinition) -> Iterator[ITensor]:
    for index in range(network.num_inputs):
        yield network.get_input(index)
    for layer in layers_of(network):
        yield from outputs_of(layer)


def layers_of(network: INetworkDefinition) -> Iterator[ILayer]:
    for index in range(network.num_layers):
        yield network.get_layer(index)


def outputs_of(layer: ILayer) -> list[ITensor]:
    return [layer.get_output(index) for index in range(layer.num_outputs)]


def keep_in_float(
    trt: TensorRT,
    network: INetworkDefinition,
    model: onnx.ModelProto,
    nodes: frozenset[str],
    half: bool,
) -> None:
    """Constrain the layers of these ONNX nodes to FP32, or to FP16 if ``half``.

    The parser names a layer after its node; where it makes several of one (a Gemm is a product and
    a sum), the one that makes the node's output carries that tensor's name. Only what computes is
    constrained: constants, and layers that move values or give shapes, have no kernels to choose
    (NVIDIA's sampleINT8API leaves them alone likewise), and neither have integers. Raises
    EngineError for a convolution or product whose layer is not found.
    """
    kind = trt.float16 if half else trt.float32
    makers = {name: node.name for node in model.graph.node for name in node.output}
    matched: set[str] = set()
    for layer in layers_of(network):
        outputs = outputs_of(layer)
        names = {layer.name} | {makers.get(tensor.name, "") for tensor in outputs}
        floats = all(tensor.dtype.name in FLOATS for tensor in outputs)
        if not names & nodes or not floats or layer.type.name in {"CONSTANT", *MOVING}:
            continue
        matched |= names & nodes
        layer.precision = kind
        for index in range(len(outputs)):
            layer.set_output_type(index, kind)
    products = {node.name for node in model.graph.node if node.op_type in COMPUTE_OPS}
    if lost := sorted(products & nodes - matched):
        raise EngineError(
            f"TensorRT's network has no layer for {lost[0]}, which the plan keeps in float",
            "Use engine.mode=explicit",
        )
