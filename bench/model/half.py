"""A model in FP16, for engines that take their types from the ONNX file."""

from __future__ import annotations

import warnings

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from bench.errors import EngineError


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float16 between inputs and outputs that stay float32.

    Operators without a float16 form keep float32, with Cast around them; weights beyond float16
    are clipped to it (ONNX Runtime's ``transformers.float16``). Raises EngineError for a model that
    this cannot convert.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one a clipped or vanishing weight
        try:
            half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
        except Exception as error:  # whatever its search through the graph stumbles over
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise EngineError(f"the model cannot be converted to FP16 ({reason})") from error
    return half
