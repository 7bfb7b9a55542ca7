"""Statistics of one tensor during calibration, in nearly constant memory.

The result must not depend on how images are batched or in which order partial results are added:
TensorRT's guide warns that its histogram does, and in ONNX Runtime the order alone moved a
threshold by a factor of 25. So nothing here is set by the first batch. The histogram
covers [0, 2^e], with e the smallest integer such that max|x| <= 2^e, in the bins of ``grid``; a
larger value raises e, and bins are merged until the range fits. A bin holds its lower edge (floor),
so bins that merge make exactly one bin of the coarser grid, and since a power of two scales every
edge without rounding, the counts are those of one pass over all values, bit for bit.

Only the extremes of each image (for rules that follow them) have an order and grow: eight bytes per
image and tensor (14 MB for 5000 images and 350 tensors).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock, local
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.calibration.bins import (
    BINS,
    EDGES,
    FINE,
    LEAST_EXPONENT,
    LOW,
    Counts,
    coarser,
    count_below,
    equal_bins,
    first_pattern,
    packed,
    range_exponent,
    unpacked,
)
from bench.calibration.histogram import Magnitudes, check_bins, regrid
from bench.calibration.kernels import MOST_VALUES, make_scratch, tally
from bench.errors import DataError

_LARGEST = float(np.finfo(np.float32).max)
_GRIDS = {
    exponent: (
        np.float32(FINE * 2.0**-exponent),
        np.float32(min(2.0**exponent, _LARGEST)),
        LOW,
        *first_pattern(exponent),
    )
    for exponent in range(LEAST_EXPONENT, 129)
}
"""The parameters of ``tally`` per range, by its exponent: scale, end, offset, knee, first."""


class _Own(local):
    """The buffers of one thread."""

    def __init__(self) -> None:
        self.scratch = make_scratch(BINS)


_own = _Own()


class TensorStatistics:
    """Count, extremes and signed histogram of one tensor, growing image by image.

    Several threads may update one at the same time.

    >>> seen = TensorStatistics("images")
    >>> seen.update(np.array([0.25, -1.5], np.float32))
    >>> seen.snapshot().amax
    1.5
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._count = 0
        self._low, self._high = math.inf, -math.inf
        self._extremes = np.zeros((0, 2), np.float32)  # a row an image; longer than needed
        self._images = 0
        self._exponent = LEAST_EXPONENT
        # Positive and negative side. The recent values are counted in half the memory, which is
        # what counting costs.
        self._counts: Counts = np.zeros((2, BINS), np.int64)
        self._recent = np.zeros((2, BINS), np.int32)
        self._recent_values = 0
        self._lock = Lock()

    def update(self, values: npt.ArrayLike, image: int | None = None) -> None:
        """Add all ``values``, of any shape; other types than float32 are converted to it.

        One call is one image for the extremes: the next one, or number ``image`` if images come out
        of order. Nothing else depends on it. Raises DataError for NaN and infinite values; the
        statistics are then not usable.
        """
        self.update_images(np.asarray(values).reshape(1, -1), image)

    def update_images(self, values: npt.NDArray[Any], first: int | None = None) -> None:
        """Add several images, ``values[i]`` being number ``first`` + i, at the cost of one."""
        x = np.ascontiguousarray(values, dtype=np.float32).reshape(len(values), -1)
        if x.size == 0:
            return
        extremes = np.full((len(x), 2), (np.inf, -np.inf), np.float32)
        with self._lock:
            self._tally(x, extremes)
            self._count += x.size
            place = self._make_room(len(x), first)
            self._extremes[place : place + len(x)] = extremes + np.float32(0)  # no -0.0

    def _tally(self, x: npt.NDArray[np.float32], extremes: npt.NDArray[np.float32]) -> None:
        """Count ``x`` (images, n) and compute its extremes; the range grows where necessary."""
        if self._recent_values + x.size > MOST_VALUES:
            self._settle()
        position = 0
        while position < x.size:
            grid = _GRIDS[self._exponent]
            done = tally(x, position, *grid, _own.scratch, self._recent, extremes)
            self._recent_values += done - position
            position = done
            looked_at = extremes[: position // x.shape[1] + 1]
            if not np.isfinite(looked_at).all():
                bad = x[len(looked_at) - 1]
                raise DataError(
                    f"tensor '{self.name}' has {np.count_nonzero(~np.isfinite(bad))} NaN or "
                    f"infinite values of {bad.size} in a calibration image",
                    "Check that the FP32 model fits its preprocessing and gives finite outputs, "
                    "and that no calibration image is broken",
                )
            self._cover(float(looked_at[:, 0].min()), float(looked_at[:, 1].max()))

    def merge(self, other: TensorStatistics) -> None:
        """Add the statistics of the same tensor over later images; ``other`` is unchanged."""
        self.restore(other.snapshot())

    def restore(self, snapshot: Snapshot, first: int | None = None) -> None:
        """Add ``snapshot`` of the same tensor, to continue from it.

        Its images are those after the last, or numbers ``first`` and on. Raises ValueError for a
        snapshot of another tensor.
        """
        if snapshot.name != self.name:
            raise ValueError(f"statistics of '{snapshot.name}' cannot join those of '{self.name}'")
        if snapshot.count == 0:
            return
        self._cover(snapshot.min, snapshot.max)
        place = self._make_room(len(snapshot.extremes), first)
        self._extremes[place : place + len(snapshot.extremes)] = snapshot.extremes
        self._count += snapshot.count
        self._counts += coarser(snapshot.counts, self._exponent - snapshot.exponent)

    def snapshot(self) -> Snapshot:
        """The present statistics, as an immutable value."""
        counts = self._counts + self._recent
        low, high = (self._low, self._high) if self._count else (0.0, 0.0)
        seen = self._extremes[: self._images].copy()
        return Snapshot(self.name, self._count, low, high, self._exponent, counts, seen)

    def _cover(self, low: float, high: float) -> None:
        if low >= self._low and high <= self._high:
            return
        self._low, self._high = min(self._low, low + 0.0), max(self._high, high + 0.0)
        exponent = range_exponent(max(-self._low, self._high))
        if exponent > self._exponent:
            self._settle()
            self._counts = coarser(self._counts, exponent - self._exponent)
            self._exponent = exponent

    def _settle(self) -> None:
        """Add the recent counts to the others."""
        if self._recent_values:
            self._counts += self._recent
            self._recent[:] = 0
            self._recent_values = 0

    def _make_room(self, images: int, first: int | None) -> int:
        """Where the extremes of so many images begin: at number ``first``, or after the last."""
        begin = self._images if first is None else first
        end = begin + images
        if end > len(self._extremes):
            room = np.zeros((max(end, 2 * len(self._extremes)), 2), np.float32)
            room[: self._images] = self._extremes[: self._images]
            self._extremes = room
        self._images = max(self._images, end)
        return begin


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The statistics of one tensor up to some image. Its arrays are read-only.

    ``count`` values between ``min`` and ``max`` (all zero without any value). ``counts``
    (2, BINS) int64: the values from zero up, and those below, in the bins of ``grid``, where bin i
    holds EDGES[i] * w <= |x| < EDGES[i + 1] * w with w = 2^exponent / FINE. ``extremes`` (images,
    2) float32: the lowest and the highest value of each image, in order.
    """

    name: str
    count: int
    min: float
    max: float
    exponent: int
    counts: Counts
    extremes: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        for array in (self.counts, self.extremes):
            array.setflags(write=False)

    @property
    def amax(self) -> float:
        """The largest |x|; 0.0 for only zeros, or no values."""
        return max(abs(self.min), abs(self.max))

    @property
    def positive(self) -> Counts:
        """The values from zero up in the equal bins alone, (FINE + 1,); bin i begins at i * w."""
        return equal_bins(self.counts[0])

    @property
    def negative(self) -> Counts:
        """Those below zero, likewise."""
        return equal_bins(self.counts[1])

    def magnitudes(self, bins: int = 2048, end: float | None = None) -> Magnitudes:
        """The histogram of |x| on the grid of TensorRT's caches: ``bins`` + 1 bins up to ``end``.

        A value goes to the nearest multiple of end / bins, to the bit where end is a power of two
        (see ``regrid``). Without an ``end`` it is amax. Of a larger one, the bins beyond amax are
        empty; of a smaller one, what lies beyond is counted apart. Raises ConfigError if ``bins``
        is not within 1 .. MOST_BINS.
        """
        return self._magnitudes(self.counts.sum(axis=0), bins, 0.5, end)

    def sides(self, bins: int) -> tuple[Magnitudes, Magnitudes]:
        """The magnitudes of the negative values and those of all others, apart."""
        return (
            self._magnitudes(self.counts[1], bins, 0.5, None),
            self._magnitudes(self.counts[0], bins, 0.5, None),
        )

    def floor_magnitudes(self, bins: int = 2048, end: float | None = None) -> Magnitudes:
        """The same in ``bins`` bins that begin at the multiples: numpy.histogram's."""
        return self._magnitudes(self.counts.sum(axis=0), bins, 0.0, end)

    def _magnitudes(self, counts: Counts, bins: int, shift: float, end: float | None) -> Magnitudes:
        check_bins(bins)
        end = self.amax if end is None else end
        width = (end or 2.0**self.exponent) / bins  # of zeros any grid will do
        in_fine = width / 2.0**self.exponent * FINE
        if end < self.amax:
            edges = np.arange(1 - shift, bins + 1, dtype=np.float64) * in_fine
            below = count_below(counts, edges)
            beyond = int(counts.sum() - below[-1])
            return Magnitudes(np.diff(below, prepend=0), end / bins, shift, beyond)
        edges = np.arange(1 - shift, bins, dtype=np.float64) * in_fine
        # Above amax nothing is left, not even of the fine bin that holds it.
        edges[edges > self.amax / 2.0**self.exponent * FINE] = FINE + 1
        return Magnitudes(regrid(np.append(equal_bins(counts), 0), edges), end / bins, shift)

    @property
    def unit(self) -> float:
        """The width of an equal bin of ``counts``."""
        return 2.0**self.exponent / FINE

    def edge(self, index: int) -> float:
        """The magnitude at which bin ``index`` of ``counts`` begins, and the one before it ends."""
        return float(EDGES[index]) * self.unit

    def signed_counts(self, bins: int) -> Counts:
        """The histogram of x itself: ``bins`` equal bins over [-amax, amax].

        A negative value that lies on an edge to the last bit counts to the bin beyond it.
        """
        check_bins(bins)
        scale = self.amax / 2.0**self.exponent * FINE
        inner_edges = (np.arange(1, bins) / bins * 2 - 1) * scale + (FINE + 1)
        return regrid(np.concatenate((self.negative[::-1], self.positive)), inner_edges)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """This snapshot as arrays for ``np.savez``: trailing zeros cut, counts in few bytes."""
        return {
            "name": np.array(self.name),
            "count": np.array(self.count, np.int64),
            "range": np.array([self.min, self.max]),
            "exponent": np.array(self.exponent, np.int64),
            "positive": packed(self.counts[0]),
            "negative": packed(self.counts[1]),
            "extremes": self.extremes,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Snapshot:
        """The snapshot of which ``to_arrays`` made ``arrays``, bit for bit."""
        low, high = arrays["range"].tolist()
        return cls(
            name=str(arrays["name"]),
            count=int(arrays["count"]),
            min=low,
            max=high,
            exponent=int(arrays["exponent"]),
            counts=np.stack((unpacked(arrays["positive"]), unpacked(arrays["negative"]))),
            extremes=arrays["extremes"],
        )


def joined(name: str, parts: Sequence[Snapshot]) -> Snapshot:
    """The snapshot of a tensor whose values are those of ``parts``, as of a concatenation.

    The bits are those of a pass over the tensor itself. Each part must have seen the same images.
    """
    seen = [part for part in parts if part.count]
    if not seen:
        return TensorStatistics(name).snapshot()
    exponent = max(part.exponent for part in seen)
    counts = sum(coarser(part.counts, exponent - part.exponent) for part in seen)
    lows, highs = np.stack([part.extremes for part in seen], axis=-1).swapaxes(0, 1)
    return Snapshot(
        name,
        sum(part.count for part in seen),
        min(part.min for part in seen),
        max(part.max for part in seen),
        exponent,
        np.asarray(counts),
        np.stack((lows.min(axis=-1), highs.max(axis=-1)), axis=-1),
    )
