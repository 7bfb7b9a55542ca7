"""A model in FP16, for engines that take their types from the ONNX file."""

from __future__ import annotations

import warnings

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float16 between inputs and outputs that stay float32.

    Operators without a float16 form keep float32, with Cast around them; weights beyond float16
    are clipped to it (ONNX Runtime's ``transformers.float16``).
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one a clipped or vanishing weight
        half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return half
