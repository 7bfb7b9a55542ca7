"""From a range to the integer grid on it: scale and zero point.

Symmetric, as all of TensorRT: int8, zero point 0, scale = amax / 127 (TensorRT developer guide,
"Explicit Quantization"). Asymmetric, as other engines know it too: uint8, the range's 255 steps
from its lower end up, and zero is one of the grid's points (ONNX QuantizeLinear; B. Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2018, section 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from bench.calibration.statistics import Snapshot

Scheme = Literal["symmetric", "asymmetric"]

Range = float | tuple[float, float]
"""What a tensor is clipped to: amax, for [-amax, amax] symmetric, or (low, high), asymmetric."""

INT8_MAX = 127
LEAST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Grid:
    """scale (float32, above zero) and zero point: x is stored as round(x / scale) + zero point."""

    scale: np.float32
    zero_point: np.int8 | np.uint8


def grid_of(range_: Range) -> Grid:
    """The grid on a range; one without extent gets the smallest scale that divides."""
    if isinstance(range_, tuple):
        low, high = min(range_[0], 0.0), max(range_[1], 0.0)
        scale = np.float32(max((high - low) / 255, LEAST_SCALE))
        return Grid(scale, np.uint8(min(round(-low / float(scale)), 255)))
    return Grid(np.float32(max(range_ / INT8_MAX, LEAST_SCALE)), np.int8(0))


def amax_of(range_: Range) -> float:
    """The largest magnitude that a range keeps."""
    return max(map(abs, range_)) if isinstance(range_, tuple) else range_


def widest(*ranges: Range) -> Range:
    """The smallest range that holds all of ``ranges``, which must be of one kind."""
    pairs = [one for one in ranges if isinstance(one, tuple)]
    if pairs:
        return min(low for low, _ in pairs), max(high for _, high in pairs)
    return max(one for one in ranges if not isinstance(one, tuple))


def ranges_of(
    scheme: Scheme, amax: Mapping[str, float], snapshots: Mapping[str, Snapshot]
) -> dict[str, Range]:
    """The tensors' ranges in a scheme, from the thresholds of |x|.

    Asymmetric: what was seen, cut at the threshold on both sides. A SiLU's output, never below
    -0.28, so spends one step in fifty below zero instead of every second one.
    """
    if scheme == "symmetric":
        return dict(amax)
    return {
        name: _cut(threshold, snapshots[name].min, snapshots[name].max)
        for name, threshold in amax.items()
    }


def _cut(threshold: float, low: float, high: float) -> Range:
    if low == high == 0:  # nothing was seen but zeros: the threshold is a plain guess
        return -threshold, threshold
    return max(low, -threshold), min(high, threshold)
