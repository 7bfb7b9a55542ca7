"""From QOperator files to Q/DQ files: the same integers, said with operators that engines share.

ONNX Runtime's quantizer writes two formats. QOperator has one operator for a quantized layer
(QLinearConv, QLinearAdd ...), Q/DQ has the float operator between DequantizeLinear and
QuantizeLinear. ONNX defines QLinearConv and QLinearMatMul; the others are in the domain
com.microsoft (onnxruntime, docs/ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from bench.errors import ModelError
from bench.model.edit import copy_of, set_nodes

_DYNAMIC = frozenset(
    {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul",
     "MatMulIntegerToFloat", "DynamicQuantizeLSTM"}
)  # fmt: skip
"""Operators whose scales follow from each image."""

_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


class _Grid(NamedTuple):
    """The tensors that hold a scale and a zero point."""

    scale: str
    zero_point: str


@dataclass(frozen=True)
class _Layer:
    """A quantized operator's parts: ``inputs`` have the tensor and its grid, ``output`` the grid of
    what it makes, None for float; ``bias`` is an int32 tensor, "" for none; ``axis`` is that of the
    weights' channels."""

    op_type: str
    inputs: tuple[tuple[str, _Grid], ...]
    output: _Grid | None
    bias: str = ""
    axis: int | None = None
    plain: tuple[str, ...] = ()
    """Inputs before the others that are not quantized, such as a condition."""


def to_qdq(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The Q/DQ form of a QOperator model; a model without such operators as it is.

    Integers that other operators move (MaxPool, Reshape, Resize ...) keep their grid. Raises
    ModelError for dynamic quantization, and for operators that are not known.
    """
    kinds = {node.op_type for node in model.graph.node}
    dynamic = sorted(kinds & _DYNAMIC)
    if dynamic:
        raise ModelError(
            f"{where} quantizes dynamically ({', '.join(dynamic)})",
            "TensorRT's INT8 is static: quantize it with calibration",
        )
    if not any(_is_quantized_operator(node) for node in model.graph.node):
        return model
    converted = copy_of(model)
    converter = _Converter(converted, where)
    for node in model.graph.node:
        converter.add(node)
    set_nodes(converted.graph, converter.nodes)
    converted.graph.initializer.extend(converter.initializers)
    return converted


def _is_quantized_operator(node: NodeProto) -> bool:
    return node.op_type.startswith("QLinear") or node.op_type == "QGemm"


class _Converter:
    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self.where = where
        self.nodes: list[NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._grids: dict[str, _Grid] = {}

    def add(self, node: NodeProto) -> None:
        if _is_quantized_operator(node):
            self._expand(node)
        elif node.op_type in _QDQ:
            self._note_grid(node)
            self.nodes.append(node)
        elif node.input and node.input[0] in self._grids:
            self._move(node)
        else:
            self.nodes.append(node)

    def _note_grid(self, node: NodeProto) -> None:
        if node.op_type == "QuantizeLinear":
            self._grids[node.output[0]] = _Grid(*_padded(node.input, 3)[1:3])

    def _expand(self, node: NodeProto) -> None:
        read = _LAYERS.get(node.op_type)
        if read is None:
            raise ModelError(
                f"{self.where} has the operator {node.op_type}, whose Q/DQ form is not known",
                "Quantize it with quant_format=QuantFormat.QDQ",
            )
        layer = read(node)
        name = node.name.removesuffix("_quant")
        inputs = [*layer.plain]
        for index, (tensor, grid) in enumerate(layer.inputs):
            axis = layer.axis if index == 1 else None
            inputs.append(self._dequantized(tensor, grid, f"{name}/input {index}", axis))
        if layer.bias:
            inputs.append(self._bias(layer, name))
        self._compute(node, name, layer, inputs)

    def _compute(self, node: NodeProto, name: str, layer: _Layer, inputs: list[str]) -> None:
        output = node.output[0]
        made = f"{output}/float" if layer.output else output
        attributes = [a for a in node.attribute if a.name not in ("channels_last", "opset")]
        computed = helper.make_node(layer.op_type, inputs, [made], name=name)
        computed.attribute.extend(attributes)
        self.nodes.append(computed)
        if layer.output:
            self._quantize(made, layer.output, output)

    def _move(self, node: NodeProto) -> None:
        """An operator that only moves integers: in float on the same grid."""
        grid = self._grids[node.input[0]]
        moved = NodeProto()
        moved.CopyFrom(node)
        for index, tensor in enumerate(node.input):
            if tensor in self._grids:
                moved.input[index] = self._dequantized(
                    tensor, self._grids[tensor], f"{node.name}/input {index}", None
                )
        for index, output in enumerate(node.output):
            moved.output[index] = f"{output}/float"
        self.nodes.append(moved)
        for output in filter(None, node.output):
            self._quantize(f"{output}/float", grid, output)

    def _quantize(self, tensor: str, grid: _Grid, output: str) -> None:
        self._grids[output] = grid
        self.nodes.append(
            helper.make_node(
                "QuantizeLinear", [tensor, *filter(None, grid)], [output], name=f"{output}/Q"
            )
        )

    def _dequantized(self, tensor: str, grid: _Grid, name: str, axis: int | None) -> str:
        scale = self._constants.get(grid.scale)
        node = helper.make_node(
            "DequantizeLinear", [tensor, *filter(None, grid)], [name], name=f"{name}/DQ"
        )
        if axis is not None and scale is not None and list(scale.dims) not in ([], [1]):
            node.attribute.append(helper.make_attribute("axis", axis))
        self.nodes.append(node)
        return name

    def _bias(self, layer: _Layer, name: str) -> str:
        """The int32 bias in float: its scale is the product of those of input and weights."""
        scales = [self._value(grid.scale) for _, grid in layer.inputs]
        values = self._value(layer.bias).astype(np.float64)
        bias = (values * scales[0].reshape(-1) * scales[1].reshape(-1)).astype(np.float32)
        self.initializers.append(numpy_helper.from_array(bias, f"{name}/bias"))
        return f"{name}/bias"

    def _value(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        if name not in self._constants:
            raise ModelError(
                f"{self.where} computes '{name}', a scale or bias, at run time",
                "Quantize it with calibration, so that scales are constants",
            )
        return np.asarray(numpy_helper.to_array(self._constants[name]), np.float64)


def _padded(inputs: Sequence[str], length: int) -> list[str]:
    return [*inputs, *[""] * (length - len(inputs))]


def _pairs(op_type: str, count: int, axis: int | None = None) -> Callable[[NodeProto], _Layer]:
    """An operator with ``count`` inputs, each with scale and zero point, then the output's two, and
    perhaps a bias."""

    def read(node: NodeProto) -> _Layer:
        given = _padded(node.input, 3 * count + 3)
        inputs = tuple(
            (given[3 * i], _Grid(given[3 * i + 1], given[3 * i + 2])) for i in range(count)
        )
        output = _Grid(given[3 * count], given[3 * count + 1])
        return _Layer(op_type, inputs, output, given[3 * count + 2], axis)

    return read


def _gemm(node: NodeProto) -> _Layer:
    given = _padded(node.input, 9)
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    output = _Grid(given[7], given[8]) if given[7] else None
    inputs = ((given[0], _Grid(given[1], given[2])), (given[3], _Grid(given[4], given[5])))
    return _Layer("Gemm", inputs, output, given[6], 0 if transposed else 1)


def _concat(node: NodeProto) -> _Layer:
    given = list(node.input)
    inputs = tuple(
        (given[i], _Grid(given[i + 1], given[i + 2])) for i in range(2, len(given) - 2, 3)
    )
    return _Layer("Concat", inputs, _Grid(given[0], given[1]))


def _where(node: NodeProto) -> _Layer:
    given = list(node.input)
    inputs = ((given[1], _Grid(given[2], given[3])), (given[4], _Grid(given[5], given[6])))
    return _Layer("Where", inputs, _Grid(given[7], given[8]), plain=(given[0],))


_LAYERS: dict[str, Callable[[NodeProto], _Layer]] = {
    "QLinearConv": _pairs("Conv", 2, 0),
    "QLinearMatMul": _pairs("MatMul", 2, 1),
    "QGemm": _gemm,
    "QLinearAdd": _pairs("Add", 2),
    "QLinearMul": _pairs("Mul", 2),
    "QLinearSigmoid": _pairs("Sigmoid", 1),
    "QLinearLeakyRelu": _pairs("LeakyRelu", 1),
    "QLinearSoftmax": _pairs("Softmax", 1),
    "QLinearAveragePool": _pairs("AveragePool", 1),
    "QLinearGlobalAveragePool": _pairs("GlobalAveragePool", 1),
    "QLinearConcat": _concat,
    "QLinearWhere": _where,
}
