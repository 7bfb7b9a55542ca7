"""Checks of a readable ONNX file before anything is computed with it.

Engines are native code: some of these values would crash the process instead of raising an error.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, TensorProto, numpy_helper

from bench.errors import ModelError
from bench.model.onnx_file import all_nodes, all_tensors, invalid

MOST_VALUES = 2**28
"""Most values of one tensor for one image: a gibibyte in float32."""

_FLOATS = {
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16
}  # fmt: skip
_DIVISORS = ("group", "strides", "dilations", "kernel_shape", "blocksize", "num_outputs")
"""Attributes that implementations divide by, or that count things and must not be zero."""
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")


def check_sound(path: Path, proto: onnx.ModelProto) -> None:
    """Raise ModelError for a model that breaks ONNX's rules, or has weights that are not finite."""
    _check_attributes(path, proto)
    for tensor in all_tensors(proto):
        _check_dims(path, tensor)
    try:
        onnx.checker.check_model(proto)
        _check_weights(path, proto)
    except (onnx.checker.ValidationError, ValueError, TypeError, RuntimeError) as error:
        raise invalid(path, error) from error


def with_shapes(path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with inferred shapes; raises ModelError where these contradict each other."""
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise invalid(path, error) from error


def check_sizes(path: Path, proto: onnx.ModelProto) -> None:
    """Raise ModelError for a tensor that would fill the memory."""
    for value in with_shapes(path, proto).graph.value_info:
        dims = [max(d.dim_value, 1) for d in value.type.tensor_type.shape.dim]
        if math.prod(dims) > MOST_VALUES:
            shown = "x".join(map(str, dims))
            raise ModelError(
                f"tensor '{value.name}' of {path} has {shown} values, more than {MOST_VALUES:,}",
                "Export the model with a smaller input",
            )


def kind_name(elem_type: int) -> str:
    """A tensor's type as ONNX names it."""
    known = elem_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(elem_type) if known else f"type {elem_type}"


def _check_attributes(path: Path, proto: onnx.ModelProto) -> None:
    for node in all_nodes(proto):
        for attribute in node.attribute:
            values = [attribute.i] if attribute.HasField("i") else list(attribute.ints)
            if attribute.name in _DIVISORS and values and min(values) < 1:
                raise ModelError(
                    f"node '{node.name}' of {path} has {attribute.name} {min(values)}, which is "
                    "below 1",
                    "Export the model again",
                )


def _check_dims(path: Path, tensor: TensorProto) -> None:
    if any(dim < 0 for dim in tensor.dims) or math.prod(tensor.dims) > 2**31 - 1:
        shown = "x".join(map(str, tensor.dims))
        raise ModelError(
            f"weights '{tensor.name}' of {path} have the shape {shown}", "Export the model again"
        )


def _check_weights(path: Path, proto: onnx.ModelProto) -> None:
    """No NaN anywhere, and nothing infinite in what convolutions and matrix products read.

    (Elsewhere infinity has a meaning: it masks, or limits nothing.)
    """
    multiplied = _multiplied(proto.graph)
    for tensor in all_tensors(proto):
        if tensor.data_type not in _FLOATS:
            continue
        values = np.asarray(numpy_helper.to_array(tensor), np.float32)
        finite = np.isfinite(values)
        if finite.all():
            continue
        if np.isnan(values).any() or tensor.name in multiplied:
            raise ModelError(
                f"weights '{tensor.name}' of {path} have {np.count_nonzero(~finite):,} values that "
                "are not finite numbers",
                "Export the model again, from a checkpoint that works",
            )


def _multiplied(graph: GraphProto) -> set[str]:
    """The weights that convolutions and matrix products read, by the names of their tensors."""
    read = {name for node in graph.node if node.op_type in _WEIGHTED for name in node.input}
    constants = [node for node in graph.node if node.op_type == "Constant"]
    return read | {a.t.name for node in constants if node.output[0] in read for a in node.attribute}
