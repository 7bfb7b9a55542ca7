"""Clip a fixed share of the values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from bench.calibration.resolution import end_of_smallest
from bench.calibration.statistics import Snapshot
from bench.errors import ConfigError


@dataclass(frozen=True)
class Percentile:
    """The threshold below which ``percentile`` percent of all |x| lie, to one of 2048 bins.

    The rule of NVIDIA pytorch-quantization and ModelOpt (``_compute_amax_percentile``): the first
    bin at which the cumulated share reaches the percentile. It is the very same bin on the same
    histogram (``scripts/parity_modelopt.py``: all 229 tensors of four networks). The threshold is
    that bin's *upper* edge, so that at least the requested share is kept, but never above the
    largest value seen. ModelOpt and onnxruntime take the lower edge, one bin less, and keep less.
    Where 2048 bins are too wide to tell, as below an outlier, finer ones answer
    (``end_of_smallest``).

    Raises ConfigError unless 0 < percentile <= 100.
    """

    percentile: float = 99.99
    name: ClassVar[str] = "percentile"

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ConfigError(
                f"percentile={self.percentile} is out of range", "Use 0 < percentile <= 100"
            )

    @property
    def params(self) -> str:
        return f"percentile={self.percentile}"

    def amax(self, snapshot: Snapshot) -> float:
        """The upper edge of the bin that holds the percentile, at most ``snapshot.amax``."""
        # In whole numbers: 0.9999 * 10000 in floating point may or may not ask for one value more.
        needed = math.ceil(Fraction(str(self.percentile)) / 100 * snapshot.count)
        return end_of_smallest(snapshot, needed)
