"""Ranges of the tensors in TensorRT's network that have no ONNX name.

The parser makes constants of weights that stand beside an activation, shuffles them to fit, and a
product and a sum of one Gemm. Their tensors have names such as "(Unnamed Layer* 1)
[Constant]_output". TensorRT's calibrators give each of them a scale. Without one TensorRT warns
("Missing scale and zero-point for tensor ...") and does not run the layers beside it in INT8: our
rules would be compared with native ones in a different network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from bench.engine.trt.network import FLOATS, MOVING, layers_of, outputs_of

if TYPE_CHECKING:
    from tensorrt_api import (
        IConstantLayer,
        IElementWiseLayer,
        ILayer,
        INetworkDefinition,
        ITensor,
        TensorRT,
    )

_PLAIN_AMAX = 1.0
"""The range of an all-zero constant: a scale must be positive, and any value works."""


def with_unnamed(
    trt: TensorRT, network: INetworkDefinition, amax: Mapping[str, float]
) -> dict[str, float]:
    """``amax`` and the ranges that follow from it; tensors in ``amax`` keep their ranges.

    A constant has max |w|. A layer that only moves values has the range of its input, a
    concatenation the widest of its inputs. A product before its bias has the sum's range plus the
    bias's, which it cannot exceed. Other tensors without a name stay without a range.
    """
    ranges = dict(amax)
    layers = list(layers_of(network))
    for layer in layers:  # in the order of the network: inputs come before outputs
        for tensor in outputs_of(layer):
            if tensor.name not in ranges and tensor.dtype.name in FLOATS:
                range_ = _of_layer(trt, layer, ranges)
                if range_ is not None:
                    ranges[tensor.name] = range_
    for layer in reversed(layers):
        _look_behind_sum(trt, layer, ranges)
    return ranges


def _of_layer(trt: TensorRT, layer: ILayer, ranges: Mapping[str, float]) -> float | None:
    """The range of a constant, or of what a layer moves; None where unknown."""
    if layer.type == trt.LayerType.CONSTANT:
        weights = _as_constant(trt, layer).weights
        if not isinstance(weights, np.ndarray):  # a type that numpy does not have
            return None
        return float(np.abs(weights).max(initial=0)) or _PLAIN_AMAX
    if layer.type.name not in MOVING:
        return None
    moved = [t.name for t in _inputs(layer) if t.dtype.name in FLOATS]
    return max((ranges[name] for name in moved if name in ranges), default=None)


def _look_behind_sum(trt: TensorRT, layer: ILayer, ranges: dict[str, float]) -> None:
    """Set the range of a product whose bias is added: |product| <= |sum| + |bias|."""
    if layer.type != trt.LayerType.ELEMENTWISE or layer.num_outputs != 1:
        return
    total = ranges.get(layer.get_output(0).name)
    without = [tensor.name for tensor in _inputs(layer) if tensor.name not in ranges]
    others = [ranges[tensor.name] for tensor in _inputs(layer) if tensor.name in ranges]
    if total is None or len(without) != 1 or len(others) != 1:
        return
    if _as_elementwise(trt, layer).op == trt.ElementWiseOperation.SUM:
        ranges[without[0]] = total + others[0]


def _inputs(layer: ILayer) -> list[ITensor]:
    return [layer.get_input(index) for index in range(layer.num_inputs)]


def _as_constant(trt: TensorRT, layer: ILayer) -> IConstantLayer:
    """The bindings return a plain ``ILayer``; its class is changed, as in Polygraphy."""
    layer.__class__ = trt.IConstantLayer
    return cast("IConstantLayer", layer)


def _as_elementwise(trt: TensorRT, layer: ILayer) -> IElementWiseLayer:
    layer.__class__ = trt.IElementWiseLayer
    return cast("IElementWiseLayer", layer)
