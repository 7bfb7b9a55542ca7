"""Where a histogram up to the maximum is too coarse for what it holds, the answer in finer bins.

Calibrators read |x| in 2048 equal bins up to the maximum. One outlier 10^5 times beyond the rest
leaves all of that in the first bin, and every threshold would be the outlier's doing. The rules
below say when the finer bins of ``grid`` answer. They are functions of the counts alone, so they
know no order, no batches and no threads; a tensor whose maximum lies less than 512 times beyond its
bulk is read as ever. Of 2,314 activation tensors of nine networks none comes near that: the lowest
99.99 % quantile lies in bin 148 of 2048 (the scores of YOLOv8n), the next in bin 349; the limit is
bin 4. (A lower percentile may lie in the first bins by itself, as does the 99.9 % of those scores.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.calibration.bins import EDGES, LEAST_RANGE, Counts
from bench.calibration.statistics import Snapshot

Floats = npt.NDArray[np.float64]

COARSE_BINS = 32
"""Below so many of 2048 bins, half a bin is more than 1.5 % of a quantile: finer bins answer."""

FEW = 10_000
"""Of so many values, one may be an outlier: those that the 99.99 % percentile clips."""

FEW_SEEN = 1_000
"""And of so many values other than zero: what a sparse tensor holds is no outlier."""

FAR = 512
"""So many times beyond the rest, outliers leave it four of 2048 bins: fewer than resolve it."""

ROOM = 4
"""The rest may reach so many times as far as its quantile: an exponential tail of 10^15 values."""


def mass_end(snapshot: Snapshot) -> float:
    """Up to where a histogram should resolve |x|: amax, or the end of what outliers drown.

    Let q be the magnitude that all but the outliers stay below: one in FEW of all values, but at
    most one in FEW_SEEN of those other than zero. If FAR * q <= amax, the range ends with the last
    bin that holds a value below ROOM * q; else at amax. So a tensor of fewer than FEW values has no
    outliers. (Whatever is too small for the grid, below 2^-30 of amax, counts as zero.)
    """
    counts = snapshot.counts.sum(axis=0)
    counts[0] = 0
    seen = np.cumsum(counts)
    outliers = min(snapshot.count // FEW, int(seen[-1]) // FEW_SEEN)
    place = int(np.searchsorted(seen, seen[-1] - outliers)) + 1
    quantile = snapshot.edge(place)
    if FAR * quantile > snapshot.amax or quantile <= LEAST_RANGE:
        return snapshot.amax
    room = int(np.searchsorted(EDGES, ROOM * EDGES[place]))
    return snapshot.edge(int(np.flatnonzero(counts[:room])[-1]) + 1)


def end_of_smallest(snapshot: Snapshot, needed: int) -> float:
    """A threshold that so many of the smallest |x| do not exceed, at most amax.

    It is the end of the bin, of 2048 up to amax, in which the last of them lies; of the finer bin
    of ``grid`` if that is one of the first COARSE_BINS. Where even that one is too coarse, as among
    zeros, it is the end of the first bin.
    """
    magnitudes = snapshot.magnitudes()
    index = int(np.searchsorted(np.cumsum(magnitudes.counts), needed))
    if index < COARSE_BINS:
        place = int(np.searchsorted(np.cumsum(snapshot.counts.sum(axis=0)), needed))
        if place > 0 and snapshot.edge(place + 1) > LEAST_RANGE:
            return min(snapshot.edge(place + 1), snapshot.amax)
    return min(magnitudes.upper_edge(index), snapshot.amax)


def fine_centres(snapshot: Snapshot) -> tuple[Floats, Floats]:
    """The magnitudes (n,) that stand for the bins of ``grid`` in use, and how many values each."""
    return _centres(snapshot, snapshot.counts.sum(axis=0))


def fine_signed_centres(snapshot: Snapshot) -> tuple[Floats, Floats]:
    """The same of the values themselves: those below zero come first."""
    positive, negative = snapshot.counts
    below, few = _centres(snapshot, negative)
    above, many = _centres(snapshot, positive)
    return np.append(-below, above), np.append(few, many)


def _centres(snapshot: Snapshot, counts: Counts) -> tuple[Floats, Floats]:
    """Bin 0 counts as zeros; nothing lies beyond amax."""
    filled = np.flatnonzero(counts)
    centres = (EDGES[filled] + EDGES[filled + 1]) / 2 * snapshot.unit
    centres[filled == 0] = 0.0
    return np.minimum(centres, snapshot.amax), counts[filled].astype(np.float64)
