"""The compiled loop over activations: extremes and histogram in one pass.

Calibration passes every activation of every image through here, billions of values. The cost is
fetching values and counters from memory. So values are read once, in blocks that stay in the cache,
and counted in a small histogram that also stays there, before it is added to the tensor's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

MOST_VALUES = 1 << 30
"""Most values per call; an int32 counter can hold twice as many."""

_LANES = 2
"""Histograms filled in turn. A counter that is increased twice in a row waits for its store, which
matters where values repeat (the zeros of ReLU, the grey of letterboxes)."""

_SMALL = 1 << 16  # up to so many values use one lane: adding and clearing another would cost more
_NORMAL = 1 << 8  # the upper bits of 2^-126, below which values are subnormal
_BLOCK = 1 << 10  # values whose bins are computed at once, in registers; then they are counted

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """``function`` as machine code that keeps its signature, is cached on disk and drops the GIL.

    Division follows NumPy (no check for zero, hence loops that vectorise). No fast math: results
    must be the same bits on every machine.
    """
    compile_ = numba.njit(cache=True, nogil=True, error_model="numpy")
    return cast(_Function, compile_(function))


def make_scratch(bins: int) -> npt.NDArray[np.int32]:
    """Counters for ``tally``, all zero, as it leaves them; one per thread."""
    return np.zeros((_LANES, 2, bins), np.int32)


@compiled
def tally(
    values: npt.NDArray[np.float32],
    begin: int,
    scale: np.float32,
    end: np.float32,
    offset: int,
    knee: int,
    first: int,
    scratch: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int32],
    extremes: npt.NDArray[np.float32],
) -> int:
    """Count ``values`` from ``begin`` up to the first block that leaves the range [-end, end].

    Returns the position of that block, or the number of values. ``extremes`` (images, 2), lowest
    and highest of each, take in all that was looked at, the block that does not fit included: a NaN
    or an infinity shows there.

    ``values`` (images, n) float32, contiguous, n > 0, of at most MOST_VALUES; ``begin`` and the
    result count through all of them. ``counts`` (2, bins) int32: a value goes to
    ``[value < 0, offset + floor(|value| * scale)]``, which must lie below ``bins`` up to ``end``.
    ``scale`` should be a power of two: the product is then exact.

    Small values go to bins that are finer towards zero: with t the upper 16 bits of |value|'s 31
    (the exponent and 8 bits of the fraction), values with t < ``knee`` go to bin t - ``first``,
    those too small for the bins to bin 0, and subnormal ones to that of t = 255. A ``knee`` of 0:
    there are no such bins.
    """
    bins, size = counts.shape[1], values.shape[1]
    lanes = _LANES if values.size > _SMALL else 1
    one, two = scratch[0].reshape(-1), scratch[lanes - 1].reshape(-1)
    # Flipping the low 31 bits of the negative ones makes integers that sort as the floats do, with
    # -NaN, -inf first and inf, NaN last: one integer minimum and maximum, which vectorise, stand
    # for minimum, maximum and the search for non-finite values, which as floats would not.
    highest = np.array([end], np.float32).view(np.int32)[0]
    knee_, first_, offset_ = np.int32(knee), np.int32(first), np.int32(offset)
    lowest = np.int32(max(0, _NORMAL - 1 - first))
    places = np.empty(_BLOCK, np.uint32)  # unsigned: an index that needs no test for "from the end"
    position = begin
    reach = np.zeros(2, np.float32)  # of both sides
    while position < values.size:
        image = position // size
        row, start = values[image], position - image * size
        bits = row.view(np.int32)
        keys = extremes[image : image + 1].view(np.int32).reshape(-1)
        low = np.int32(keys[0] ^ ((keys[0] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        high = np.int32(keys[1] ^ ((keys[1] >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        fits = True
        while fits and start < size:
            block, block_bits = row[start : start + _BLOCK], bits[start : start + _BLOCK]
            for j in range(block.size):
                negative = block_bits[j] >> np.int32(31)  # all ones, or zero
                key = np.int32(block_bits[j] ^ (negative & np.int32(0x7FFFFFFF)))
                low, high = min(low, key), max(high, key)
                # -0.0 is no negative value: its bin is that of 0.0.
                side = np.int32(bins) if block[j] < 0 else np.int32(0)
                t = np.int32((block_bits[j] & np.int32(0x7FFFFFFF)) >> np.int32(15))
                small = max(np.int32(t - first_), lowest)
                large = np.int32(np.int32(abs(block[j]) * scale) + offset_)
                place = small if t < knee_ else large
                places[j] = np.uint32(place + side)
            fits = low >= -highest - 1 and high <= highest
            if fits:
                even = block.size & ~3
                for j in range(0, even, 4):
                    one[places[j]] += np.int32(1)
                    two[places[j + 1]] += np.int32(1)
                    one[places[j + 2]] += np.int32(1)
                    two[places[j + 3]] += np.int32(1)
                for j in range(even, block.size):
                    one[places[j]] += np.int32(1)
                start += block.size
        keys[0] = np.int32(low ^ ((low >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        keys[1] = np.int32(high ^ ((high >> np.int32(31)) & np.int32(0x7FFFFFFF)))
        position = image * size + start
        reach[0] = max(reach[0], extremes[image, 1])
        reach[1] = max(reach[1], -extremes[image, 0])
        if not fits:
            reach[:] = end
            break
    for sign in range(2):
        used = offset + int(min(reach[sign], end) * scale) + 1
        for lane in range(lanes):
            for i in range(used):
                counts[sign, i] += scratch[lane, sign, i]
                scratch[lane, sign, i] = 0
    return position
