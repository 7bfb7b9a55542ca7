"""Engines on the CPU that compute something else than they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from bench.engine.onnxrt import OnnxRuntime

Change = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def change_constants(model: onnx.ModelProto, change: Change, nodes: str = "") -> onnx.ModelProto:
    """A copy with other constants, of those with ``nodes`` in their names."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if nodes in tensor.name:
            values = change(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return changed


def clip_at(limit: int) -> Change:
    """INT8 weights beyond ``limit`` of 127 are cut off."""

    def clip(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.clip(values, -limit, limit) if values.dtype == np.int8 else values

    return clip


def to_bfloat16(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """FP32 without the bits that bfloat16 does not have."""
    if values.dtype != np.float32:
        return values
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


class Saturating(OnnxRuntime):
    """Kernels that cut off weights; the emulation is ONNX Runtime's."""

    def build(self, model: onnx.ModelProto) -> Any:
        return super().build(change_constants(model, clip_at(63)))


class Hopeless(Saturating):
    """Its emulation does so too."""

    def build_exact(self, qdq: onnx.ModelProto) -> Any:
        return self.build(qdq)


class InBfloat16(OnnxRuntime):
    """Weights lose what bfloat16 has no bits for."""

    def build(self, model: onnx.ModelProto) -> Any:
        return super().build(change_constants(model, to_bfloat16))
