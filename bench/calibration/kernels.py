"""Compiled loops over activations: their extremes, and filling a histogram.

Calibration passes every activation of every image through here, billions of values: each loop reads
memory once, holds no lock of the interpreter and allocates little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

_BLOCK = 1 << 10  # values whose bins are found at once, in registers; then they are counted
_FLUSH = 1 << 22  # values between two flushes of the int32 counts, which could overflow at 2^31
_LANES = 4  # histograms filled in turn: a power of two
_SMALL = 1 << 16  # up to so many values one lane: clearing and adding lanes would cost more

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """``function`` as machine code that keeps its signature, is cached on disk and drops the GIL.

    Division follows NumPy (no check for zero, hence loops that vectorise). No fast math: results
    must be the same bits on every machine.
    """
    compile_ = numba.njit(cache=True, nogil=True, error_model="numpy")
    return cast(_Function, compile_(function))


def extremes(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Smallest and largest of ``values`` (n,) float32, contiguous, n > 0.

    A NaN or an infinity anywhere shows as a NaN or an infinity in the result.
    """
    keys = np.array(_extreme_keys(values.view(np.int32)), np.int32)
    low, high = (keys ^ ((keys >> 31) & 0x7FFFFFFF)).view(np.float32)
    return float(low) + 0.0, float(high) + 0.0  # -0.0 + 0.0 = 0.0: both zeros are one value


@compiled
def _extreme_keys(bits: npt.NDArray[np.int32]) -> tuple[np.int32, np.int32]:
    """Smallest and largest sort key of floats given as bits.

    Flipping the low 31 bits of the negative ones makes integers that sort as the floats do, with
    -NaN, -inf first and inf, NaN last: one integer minimum and maximum, which vectorise, stand for
    minimum, maximum and the search for non-finite values, which as floats would not.
    """
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
    for i in range(bits.size):
        key = np.int32(bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        low, high = min(low, key), max(high, key)
    return low, high


@compiled
def fill(values: npt.NDArray[np.float32], scale: np.float32, counts: npt.NDArray[np.int64]) -> None:
    """Add ``values`` to ``counts``: each at ``[value < 0, floor(|value| * scale)]``.

    ``values`` (n,) float32, contiguous and finite; ``counts`` (2, bins) int64, row 0 for the values
    from zero up, row 1 for the negative ones; ``max(|values|) * scale`` must be below ``bins``
    (there is no check). ``scale`` should be a power of two: the product is then exact.

    A counter that is raised twice in a row waits for its own store: neighbours therefore go to
    different lanes, which matters where values repeat (the zeros of ReLU, the grey of letterboxes).
    """
    bins = counts.shape[1]
    lanes = _LANES if values.size > _SMALL else 1
    partial = np.empty((lanes, 2 * bins), np.int32)
    places = np.empty(_BLOCK, np.uint32)  # unsigned: an index that needs no test for "from the end"
    for begin in range(0, values.size, _FLUSH):
        partial[:] = 0
        for start in range(begin, min(begin + _FLUSH, values.size), _BLOCK):
            block = values[start : start + _BLOCK]
            for j in range(block.size):
                place = np.int32(abs(block[j]) * scale)
                places[j] = place + np.int32(bins) if block[j] < 0 else place
            for j in range(block.size):
                partial[np.uint32(j & (lanes - 1)), places[j]] += np.int32(1)
        for lane in range(lanes):
            for i in range(bins):
                counts[0, i] += partial[lane, i]
                counts[1, i] += partial[lane, bins + i]
