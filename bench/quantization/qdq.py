"""The quantized artefact: one ONNX file with QuantizeLinear/DequantizeLinear pairs.

TensorRT's semantics: activations per tensor (``grid``), weights per output channel (``weights``),
bias on the int32 grid of activation scale x weight scale (ONNX QuantizeLinear / DequantizeLinear;
TensorRT developer guide, "Explicit Quantization").
The bias is stored as float32 values that lie on that grid: TensorRT's parser refuses a
DequantizeLinear of int32 (tried: TensorRT for RTX 1.7.1), and the values are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from bench.errors import ModelError
from bench.model.edit import copy_of, drop_unused_initializers, set_nodes
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel
from bench.quantization.grid import INT8_MAX, Range, grid_of
from bench.quantization.plan import QuantizationPoints
from bench.quantization.weight_scales import PER_CHANNEL_MAX, WeightScales, output_axis

_LARGEST_BIAS = 2**30  # half of int32: the sum of the products needs room beside it


def insert_qdq(
    model: OnnxModel,
    graph: Graph,
    points: QuantizationPoints,
    ranges: Mapping[str, Range],
    weight_scales: WeightScales = PER_CHANNEL_MAX,
) -> onnx.ModelProto:
    """A copy of ``model`` with Q/DQ at ``points``; ``ranges`` maps tensors to what they clip to.

    Raises ModelError if a tensor that needs a range has none.
    """
    missing = [tensor for tensor in points.tensors if tensor not in ranges]
    if missing:
        raise ModelError(f"no range was calibrated for {', '.join(missing[:3])}")
    proto = copy_of(model.proto)
    writer = _QdqWriter(graph, weight_scales)
    for node in proto.graph.node:
        writer.nodes.setdefault(node.name, node)
    for tensor in points.tensors:
        writer.quantize_activation(tensor, ranges[tensor])
    for edge in points.edges:
        writer.nodes[edge.node].input[edge.index] = _dequantized(edge.tensor)
    scales = {(edge.node, edge.index): writer.scales[edge.tensor] for edge in points.edges}
    for name in points.weighted_nodes:
        writer.quantize_weights(name, scales[name, 0])

    ordered = [*writer.before_all]
    ordered.extend(writer.after.get(model.input_name, []))
    for node in proto.graph.node:
        ordered.append(node)
        for output in node.output:
            ordered.extend(writer.after.get(output, []))
    set_nodes(proto.graph, ordered)
    proto.graph.initializer.extend(writer.initializers)
    drop_unused_initializers(proto)
    del proto.graph.value_info[:]
    onnx.checker.check_model(proto)
    return proto


class _QdqWriter:
    """Collects the nodes and initializers to add, each weight and activation once."""

    def __init__(self, graph: Graph, weight_scales: WeightScales) -> None:
        self.graph = graph
        self.weight_scales = weight_scales
        self.nodes: dict[str, NodeProto] = {}
        self.before_all: list[NodeProto] = []
        self.after: dict[str, list[NodeProto]] = {}
        self.initializers: list[onnx.TensorProto] = []
        self.scales: dict[str, float] = {}

    def quantize_activation(self, tensor: str, range_: Range) -> None:
        grid = grid_of(range_)
        self.scales[tensor] = float(grid.scale)
        scale_name = self._add(f"{tensor}/scale", grid.scale)
        zero_name = self._add(f"{tensor}/zero_point", grid.zero_point)
        self.after[tensor] = [
            helper.make_node(
                "QuantizeLinear",
                [tensor, scale_name, zero_name],
                [f"{tensor}/quantized"],
                name=f"{tensor}/QuantizeLinear",
            ),
            helper.make_node(
                "DequantizeLinear",
                [f"{tensor}/quantized", scale_name, zero_name],
                [_dequantized(tensor)],
                name=f"{tensor}/DequantizeLinear",
            ),
        ]

    def quantize_weights(self, name: str, input_scale: float) -> None:
        """Weights on their grids, and the bias at the scale of the products."""
        node = self.nodes[name]
        weight = self.graph.weight(node.input[1])
        axis = output_axis(node, weight.ndim)
        bias = self._bias(node)
        wanted = self.weight_scales(weight, axis)
        if bias is not None:
            # A nearly dead channel would need a bias beyond int32: its weights take a coarser step.
            wanted = np.maximum(wanted, np.abs(bias) / (input_scale * _LARGEST_BIAS))
        scales = wanted.astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        steps = np.rint(weight / scales.reshape(shape))
        quantized = np.clip(steps, -INT8_MAX, INT8_MAX).astype(np.int8)
        node.input[1] = self._dequantize(f"{name}/weight", quantized, scales, axis)
        _declare_kernel_shape(node, weight.shape)
        if bias is not None:
            step = scales.astype(np.float64) * input_scale
            on_grid = (np.rint(bias / step) * step).astype(np.float32)
            node.input[2] = self._add(f"{name}/bias/on_grid", on_grid)

    def _bias(self, node: NodeProto) -> npt.NDArray[np.float32] | None:
        if len(node.input) < 3 or node.input[2] not in self.graph.weights:
            return None
        bias = self.graph.weight(node.input[2])
        return bias if bias.ndim == 1 else None

    def _dequantize(
        self, name: str, values: npt.NDArray[Any], scales: npt.NDArray[np.float32], axis: int
    ) -> str:
        inputs = [
            self._add(f"{name}/quantized", values),
            self._add(f"{name}/scale", scales),
            self._add(f"{name}/zero_point", np.zeros(scales.shape, values.dtype)),
        ]
        self.before_all.append(
            helper.make_node(
                "DequantizeLinear",
                inputs,
                [_dequantized(name)],
                name=f"{name}/DequantizeLinear",
                axis=axis,
            )
        )
        return _dequantized(name)

    def _add(self, name: str, values: npt.NDArray[Any] | np.generic) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def _declare_kernel_shape(node: NodeProto, shape: Sequence[int]) -> None:
    """Write the convolution's ``kernel_shape``, which ONNX lets a file leave to its weights.

    TensorRT's parsers of 8.5 to 10.1 want it where the weights are not an initializer but come
    from a DequantizeLinear (onnx-tensorrt, release/8.5-GA, onnx2trt_utils.cpp, ``convMultiInput``).
    """
    if node.op_type in ("Conv", "ConvTranspose") and all(
        attribute.name != "kernel_shape" for attribute in node.attribute
    ):
        node.attribute.append(helper.make_attribute("kernel_shape", list(shape[2:])))


def _dequantized(name: str) -> str:
    return f"{name}/dequantized"
