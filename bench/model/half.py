"""A model in FP16, for engines that take their types from the ONNX file."""

from __future__ import annotations

import warnings

import onnx
from onnx import version_converter

from bench.errors import EngineError
from bench.model.edit import copy_of

FLOAT16_QDQ = 19
"""The first opset whose QuantizeLinear and DequantizeLinear take float16 (ONNX operators)."""


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float16 between inputs and outputs that stay float32.

    Operators without a float16 form keep float32, with Cast around them; weights beyond float16
    are clipped to it (ONNX Runtime's ``transformers.float16``). Q/DQ gets scales of float16, which
    ONNX has from opset 19 on; below 6e-5 they lose digits. (On such files ONNX Runtime 1.23.2
    is not a reference: on the CPU its QuantizeLinear truncates float16 instead of rounding it.)
    Raises EngineError for a model that this cannot convert.
    """
    try:
        return _converted(copy_of(model))
    except Exception as error:  # the conversion can raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise EngineError(f"the model cannot be converted to FP16 ({reason})") from error


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """May change ``model``."""
    # Both bring sympy, which takes a third of a second.
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel as Sortable

    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        model = _at_least(model, FLOAT16_QDQ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one a clipped or vanishing weight
        half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    Sortable(half).topological_sort()  # the casts of inputs come last else
    return half


def _at_least(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    version = max(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    return model if version >= opset else version_converter.convert_version(model, opset)
