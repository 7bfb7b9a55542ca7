"""Histograms of one tensor, as calibrators read them, made from the bins of ``grid``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.calibration.bins import FINE, Counts
from bench.errors import ConfigError

MOST_BINS = FINE // 4
"""Bins of the finest histogram of a snapshot: zero and the maximum keep their bins."""


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """A histogram of |x|: ``counts`` int64, read-only, of bins that are ``width`` wide.

    Bin i counts the values from (i - shift) * width up to (i + 1 - shift) * width. With shift 0.5
    it is centred on i * width and holds the values nearest to that; with shift 0 it begins there.
    ``beyond`` is how many values lie above the last bin.
    """

    counts: Counts
    width: float
    shift: float
    beyond: int = 0

    def __post_init__(self) -> None:
        self.counts.setflags(write=False)

    def upper_edge(self, index: int) -> float:
        """Where bin ``index`` ends, in the tensor's unit."""
        return (index + 1 - self.shift) * self.width


def check_bins(bins: int) -> None:
    """Raise ConfigError unless a snapshot can give a histogram of so many bins."""
    if not 1 <= bins <= MOST_BINS:
        raise ConfigError(f"bins={bins} is out of range", f"Use 1 to {MOST_BINS} histogram bins")


def check_start(start_bin: int, bins: int) -> None:
    """Raise ConfigError unless a search over so many bins can begin at this one."""
    check_bins(bins)
    if not 1 <= start_bin <= bins:
        raise ConfigError(f"start_bin={start_bin} is out of range", f"Use 1 to bins={bins}")


def regrid(fine: Counts, edges: npt.NDArray[np.float64]) -> Counts:
    """The counts between inner ``edges``, given in bins of ``fine``: one bin more than edges.

    A fine bin that an edge cuts is shared out by length, at most one fine bin an edge. (Moving it
    as a whole would make neighbouring bins of a smooth histogram alternate by up to a quarter, and
    the entropy search takes that for information.)
    """
    whole = edges.astype(np.int64)
    share = np.rint((edges - whole) * fine[whole]).astype(np.int64)
    below = np.append((np.cumsum(fine) - fine)[whole] + share, fine.sum())
    return np.diff(below, prepend=0)
