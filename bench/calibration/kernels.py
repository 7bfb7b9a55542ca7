"""The compiled loop over activations: their extremes and their histogram in one reading.

Calibration passes every activation of every image through here, billions of values. What it costs
is to fetch values and counters from memory: so values are read once, in blocks that stay in the
cache, and counted in a small histogram that stays there too before it is added to the tensor's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

_LANES = 2
"""Histograms filled in turn. A counter that is raised twice in a row waits for its own store, which
matters where values repeat (the zeros of ReLU, the grey of letterboxes)."""

MOST_VALUES = 1 << 30
"""As many values fit into the int32 counters."""

_BLOCK = 1 << 10  # values whose bins are found at once, in registers; then they are counted

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """``function`` as machine code that keeps its signature, is cached on disk and drops the GIL.

    Division follows NumPy (no check for zero, hence loops that vectorise). No fast math: results
    must be the same bits on every machine.
    """
    compile_ = numba.njit(cache=True, nogil=True, error_model="numpy")
    return cast(_Function, compile_(function))


def make_scratch(bins: int) -> npt.NDArray[np.int32]:
    """Counters for ``tally``, all zero, as it leaves them; each thread needs its own."""
    return np.zeros((_LANES, 2, bins), np.int32)


@compiled
def tally(
    values: npt.NDArray[np.float32],
    scale: np.float32,
    end: np.float32,
    scratch: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int64],
) -> tuple[int, float, float]:
    """Count ``values`` up to the first block that leaves the range [-end, end].

    Returns how many values were counted, and the extremes of all that was looked at, the block that
    does not fit included: a NaN or an infinity shows there. Zeros have no sign.

    ``values`` (n,) float32, contiguous, n <= MOST_VALUES. ``counts`` (2, bins) int64: a value goes
    to ``[value < 0, floor(|value| * scale)]``, which must lie below ``bins`` up to ``end``.
    ``scale`` should be a power of two: the product is then exact.
    """
    bins = counts.shape[1]
    one, two = scratch[0].reshape(-1), scratch[1].reshape(-1)
    bits = values.view(np.int32)
    # Flipping the low 31 bits of the negative ones makes integers that sort as the floats do, with
    # -NaN, -inf first and inf, NaN last: one integer minimum and maximum, which vectorise, stand
    # for minimum, maximum and the search for non-finite values, which as floats would not.
    highest = np.array([end], np.float32).view(np.int32)[0]
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
    places = np.empty(_BLOCK, np.uint32)  # unsigned: an index that needs no test for "from the end"
    done = values.size
    for start in range(0, values.size, _BLOCK):
        block, block_bits = values[start : start + _BLOCK], bits[start : start + _BLOCK]
        for j in range(block.size):
            negative = block_bits[j] >> np.int32(31)  # all ones, or zero
            key = np.int32(block_bits[j] ^ (negative & np.int32(0x7FFFFFFF)))
            low, high = min(low, key), max(high, key)
            # -0.0 is no negative value: its bin is that of 0.0.
            side = np.int32(bins) if block[j] < 0 else np.int32(0)
            places[j] = np.uint32(np.int32(abs(block[j]) * scale) + side)
        if low < -highest - 1 or high > highest:
            done = start
            break
        even = block.size & ~3
        for j in range(0, even, 4):
            one[places[j]] += np.int32(1)
            two[places[j + 1]] += np.int32(1)
            one[places[j + 2]] += np.int32(1)
            two[places[j + 3]] += np.int32(1)
        for j in range(even, block.size):
            one[places[j]] += np.int32(1)
    keys = np.array([low, high], np.int32)
    floats = (keys ^ ((keys >> np.int32(31)) & np.int32(0x7FFFFFFF))).view(np.float32)
    least, most = float(floats[0]) + 0.0, float(floats[1]) + 0.0
    for row, reach in enumerate((most, -least)):
        if done < values.size or reach >= 0:
            used = bins if done < values.size else int(np.float32(reach) * scale) + 1
            for i in range(used):
                counts[row, i] += scratch[0, row, i] + scratch[1, row, i]
            scratch[0, row, :used] = 0
            scratch[1, row, :used] = 0
    return done, least, most
