"""Reading an ONNX file that another tool quantized: what is in INT8, and with which ranges.

Q/DQ files of any tool, and QOperator files of ONNX Runtime. Only 8-bit integers count as INT8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, numpy_helper, version_converter

from bench.errors import ModelError
from bench.model.edit import sort_nodes
from bench.model.graph import COMPUTE_OPS
from bench.model.onnx_file import hash_with_data, invalid, load_data, read_proto
from bench.model.onnx_model import (
    OLDEST_OPSET,
    constants_to_initializers,
    free_weights,
    image_input,
    name_nodes,
)
from bench.model.qoperator import to_qdq
from bench.model.soundness import check_sound

_PASSED = frozenset({"Cast", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze"})
"""Operators that may be between a weight or tensor and its quantization."""

_SELECTED = _PASSED | {"Concat", "MaxPool", "Split", "Slice", "Gather", "Flatten", "Resize"}
"""What leaves values as they are, or picks among them: what comes out lies on the grids of what
goes in. (Of a Resize that is so for the nearest neighbour.)"""

_LIMITS = {TensorProto.INT8: (-128, 127), TensorProto.UINT8: (0, 255)}


@dataclass(frozen=True)
class Product:
    """A convolution or matrix product: its name, operator and the shape of its weights, empty if
    they are computed."""

    name: str
    op_type: str
    weights: tuple[int, ...]


@dataclass(frozen=True)
class QuantizedOnnx:
    """An already quantized file, in Q/DQ form.

    ``edges`` has the range (low, high), in the tensor's unit, of every node's quantized input:
    (node's name, index). ``tensors`` has the same by the name of the tensor that is quantized, and
    ``makers`` the node that makes each of these: (node's name, index of the output).
    ``per_channel`` names the tensors with a scale per channel, whose range here is that of the
    widest channel; TensorRT has one scale per activation tensor. ``weighted`` are the products
    with weights in INT8.
    """

    path: Path
    sha256: str
    proto: onnx.ModelProto = field(compare=False, repr=False)
    input_name: str
    input_shape: tuple[int | None, int, int, int]
    products: tuple[Product, ...]
    edges: Mapping[tuple[str, int], tuple[float, float]] = field(compare=False)
    tensors: Mapping[str, tuple[float, float]] = field(compare=False)
    makers: Mapping[str, tuple[str, int]] = field(compare=False)
    per_channel: tuple[str, ...] = field(compare=False)
    weighted: frozenset[str] = frozenset()


def load_quantized(path: Path) -> QuantizedOnnx:
    """Read and check a quantized ONNX file.

    Raises ModelError for a file that is broken, in float, quantized dynamically, or with other
    inputs and outputs than one float32 image and float32 results.
    """
    if not path.is_file():
        raise ModelError(f"quantized file {path} does not exist", "Check its path")
    proto = read_proto(path)
    sha256 = hash_with_data(path, proto)
    load_data(path, proto)
    try:
        sort_nodes(proto.graph)
    except CycleError as error:
        raise invalid(path, error) from error
    check_sound(path, proto)
    free_weights(proto)
    name_nodes(proto)
    input_name, shape = image_input(proto, path)
    _check_outputs(proto, path)
    proto = to_qdq(_raised(proto, path), str(path))
    constants_to_initializers(proto)
    name_nodes(proto)
    reader = _Reader(proto, input_name, str(path))
    if not reader.ranges:
        raise ModelError(
            f"{path} has no QuantizeLinear with 8-bit integers: nothing in it is INT8",
            "Give the file that the quantizer wrote",
        )
    return QuantizedOnnx(
        path=path,
        sha256=sha256,
        proto=proto,
        input_name=input_name,
        input_shape=shape,
        products=tuple(reader.products()),
        edges=dict(reader.edges()),
        tensors=reader.ranges,
        makers=dict(reader.makers()),
        per_channel=tuple(sorted(reader.per_channel)),
        weighted=frozenset(reader.weighted()),
    )


def _check_outputs(proto: onnx.ModelProto, path: Path) -> None:
    for output in proto.graph.output:
        if output.type.tensor_type.elem_type != TensorProto.FLOAT:
            raise ModelError(
                f"output '{output.name}' of {path} is not float32",
                "Keep inputs and outputs in float32 when you quantize",
            )


def _raised(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset >= OLDEST_OPSET:
        return proto
    try:
        return version_converter.convert_version(proto, OLDEST_OPSET)
    except (RuntimeError, version_converter.ConvertError) as error:
        raise ModelError(
            f"{path} has opset {opset}, which could not be raised to {OLDEST_OPSET} ({error})",
            f"Quantize a model with opset {OLDEST_OPSET} or later",
        ) from error


class _Reader:
    """What the Q/DQ nodes of a graph say; ``ranges`` by the quantized tensor's name."""

    def __init__(self, proto: onnx.ModelProto, input_name: str, where: str) -> None:
        self._where = where
        self._nodes = list(proto.graph.node)
        self._constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._producer = {name: node for node in self._nodes for name in node.output}
        self._from_input = {input_name}
        for node in self._nodes:
            if self._from_input.intersection(node.input):
                self._from_input.update(node.output)
        self.per_channel: set[str] = set()
        self.ranges = {
            node.input[0]: range_
            for node in self._nodes
            if node.op_type == "QuantizeLinear"
            and not self._is_constant(node.input[0])
            and (range_ := self._range(node)) is not None
        }

    def products(self) -> Iterator[Product]:
        for node in self._nodes:
            if node.op_type in COMPUTE_OPS and not self._is_constant(node.input[0]):
                yield Product(node.name, node.op_type, self._weight_shape(node.input[1]))

    def edges(self) -> Iterator[tuple[tuple[str, int], tuple[float, float]]]:
        """Of every node but the quantizations themselves."""
        for node in self._nodes:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                continue
            for index, tensor in enumerate(node.input):
                range_ = self._range_behind(tensor)
                if range_ is not None:
                    yield (node.name, index), range_

    def makers(self) -> Iterator[tuple[str, tuple[str, int]]]:
        for node in self._nodes:
            for index, tensor in enumerate(node.output):
                if tensor in self.ranges:
                    yield tensor, (node.name, index)

    def weighted(self) -> Iterator[str]:
        for node in self._nodes:
            if node.op_type in COMPUTE_OPS and self._is_int8_weight(node.input[1]):
                yield node.name

    def _range_behind(self, tensor: str) -> tuple[float, float] | None:
        """The range of a dequantized activation, also behind operators that move its values; of a
        Concat the widest of its inputs', None unless all are quantized."""
        node = self._producer.get(tensor)
        if node is None:
            return None
        if node.op_type == "DequantizeLinear":
            quantizer = self._producer.get(node.input[0])
            known = quantizer is not None and quantizer.op_type == "QuantizeLinear"
            if quantizer is None or not known or quantizer.input[0] not in self.ranges:
                return None
            return self._range(quantizer)
        if node.op_type not in _SELECTED:
            return None
        sources = node.input if node.op_type == "Concat" else node.input[:1]
        ranges = [self._range_behind(source) for source in sources]
        known_ranges = [one for one in ranges if one is not None]
        if len(known_ranges) < len(ranges):
            return None
        return min(low for low, _ in known_ranges), max(high for _, high in known_ranges)

    def _behind(self, tensor: str) -> NodeProto | None:
        """The node that makes a tensor, casts and changes of shape passed over."""
        node = self._producer.get(tensor)
        while node is not None and node.op_type in _PASSED:
            node = self._producer.get(node.input[0])
        return node

    def _is_constant(self, tensor: str) -> bool:
        """Whether a tensor is made of constants alone."""
        return tensor not in self._from_input

    def _is_int8_weight(self, tensor: str) -> bool:
        dequantizer = self._behind(tensor)
        if dequantizer is None or dequantizer.op_type != "DequantizeLinear":
            return False
        stored = dequantizer.input[0]
        if stored in self._constants:
            return self._constants[stored].data_type in _LIMITS
        quantizer = self._producer.get(stored)
        return (
            quantizer is not None
            and quantizer.op_type == "QuantizeLinear"
            and self._is_constant(quantizer.input[0])
            and self._kind(quantizer) in _LIMITS
        )

    def _weight_shape(self, tensor: str) -> tuple[int, ...]:
        node = self._producer.get(tensor)
        while node is not None and node.op_type in (
            "Cast", "Identity", "DequantizeLinear", "QuantizeLinear",
        ):  # fmt: skip
            tensor = node.input[0]
            node = self._producer.get(tensor)
        return tuple(self._constants[tensor].dims) if tensor in self._constants else ()

    def _kind(self, quantizer: NodeProto) -> int:
        """The integers that a QuantizeLinear makes, as a ``TensorProto`` type."""
        if len(quantizer.input) > 2 and quantizer.input[2] in self._constants:
            return int(self._constants[quantizer.input[2]].data_type)
        asked = next((int(a.i) for a in quantizer.attribute if a.name == "output_dtype"), 0)
        return asked or TensorProto.UINT8

    def _range(self, quantizer: NodeProto) -> tuple[float, float] | None:
        """What an activation is clipped to; None for integers of other sizes than 8 bits."""
        limits = _LIMITS.get(TensorProto.DataType.ValueType(self._kind(quantizer)))
        if limits is None:
            return None
        scales = self._values(quantizer.input[1])
        zeros = self._values(quantizer.input[2] if len(quantizer.input) > 2 else "")
        if scales.size > 1:
            self.per_channel.add(quantizer.input[0])
        return float((scales * (limits[0] - zeros)).min()), float(
            (scales * (limits[1] - zeros)).max()
        )

    def _values(self, name: str) -> npt.NDArray[np.float64]:
        """The values of a scale or zero point: (1,), or one per channel."""
        if not name:
            return np.zeros(1)
        if name not in self._constants:
            raise ModelError(
                f"{self._where} computes the scale '{name}' at run time",
                "TensorRT's INT8 is static: quantize it with calibration",
            )
        return np.asarray(numpy_helper.to_array(self._constants[name]), np.float64).reshape(-1)
