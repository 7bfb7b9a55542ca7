"""Weights on the int8 grid: symmetric, one scale per output channel or one for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from onnx import NodeProto

from bench.calibration.kernels import compiled
from bench.model.graph import attribute
from bench.quantization.grid import INT8_MAX, LEAST_SCALE

Granularity = Literal["per_channel", "per_tensor"]
Rule = Literal["max", "mse"]

_CANDIDATES = 100
"""Thresholds that ``mse`` tries: hundredths of the largest weight, from a half up."""


@dataclass(frozen=True)
class WeightScales:
    """How weights get their scales.

    ``per_channel`` (of the output, TensorRT's default for convolutions and matrix products) or
    ``per_tensor``. ``max`` keeps every weight: scale = max |w| / 127, as TensorRT does. ``mse``
    clips where the squared error of the rounded weights is least (R. Banner et al., "Post training
    4-bit quantization of convolutional networks for rapid-deployment", 2019, search for the
    clipping value; NVIDIA ModelOpt's ``MseCalibrator`` likewise tries multiples of max |w|).
    """

    granularity: Granularity = "per_channel"
    rule: Rule = "max"

    def __call__(self, weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float64]:
        """A scale for every channel along ``axis``: (channels,) float64, all equal per tensor.

        1 for a channel (or tensor) of zeros: any step serves.
        """
        channels = weight.shape[axis]
        rows = np.moveaxis(weight, axis, 0).reshape(channels, -1)
        groups = rows.reshape(1, -1) if self.granularity == "per_tensor" else rows
        amax = np.abs(groups).max(axis=1, initial=0).astype(np.float64)
        if self.rule == "mse":
            amax *= _best_shares(np.ascontiguousarray(groups), amax)
        scales = np.where(amax > 0, np.maximum(amax / INT8_MAX, LEAST_SCALE), 1.0)
        return np.broadcast_to(scales, channels).copy()


PER_CHANNEL_MAX = WeightScales()
"""TensorRT's way."""


def output_axis(node: NodeProto, ndim: int) -> int:
    """The axis of a weight that counts output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return 0
    return ndim - 1


@compiled
def _best_shares(
    rows: npt.NDArray[np.float32], amax: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Of each row: the share of its amax that leaves the least squared error; ties keep more."""
    best = np.ones(amax.size)
    for i in range(amax.size):
        if amax[i] == 0:
            continue
        least = np.inf
        for tried in range(_CANDIDATES, _CANDIDATES // 2 - 1, -1):
            scale = amax[i] * tried / _CANDIDATES / INT8_MAX
            error = 0.0
            for value in rows[i]:
                level = max(min(np.rint(value / scale), INT8_MAX), -INT8_MAX)
                error += (level * scale - value) ** 2
            if error < least:
                least, best[i] = error, tried / _CANDIDATES
    return best
