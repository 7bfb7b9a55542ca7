"""Clip a quantile, or where the histogram's tail is expected to end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from bench.calibration.histogram import Magnitudes
from bench.calibration.resolution import end_of_smallest
from bench.calibration.statistics import Snapshot
from bench.errors import ConfigError


@dataclass(frozen=True)
class Legacy:
    """TensorRT's ``IInt8LegacyCalibrator``: a quantile of |x|, or a regression over its tail.

    Documented (NvInfer.h): ``quantile`` is "the quantile (between 0 and 1) that will be used to
    select the region maximum when the quantile method is in use", the cutoff "the fraction (between
    0 and 1) of the maximum used to define the regression cutoff when using regression to determine
    the region maximum". The white paper with the details is lost; NVIDIA searched for the best pair
    on a grid. With a cutoff of 1 it is a percentile: TensorRT's BERT demo takes 0.9999 and 1,
    sampleSSD 0.99999 and 1. A log of TensorRT 7.0 (NVIDIA/TensorRT issue 1053) shows 2048 bins and,
    with a cutoff of 1, a regression that gives NaN, whereupon it "uses Quantile-based method".

    Our reading: the regression is a least-squares line through the logarithms of the non-empty bins
    beyond cutoff * max|x|, and the maximum is where it comes down to one value a bin. Where there
    is no falling line, as nothing lies beyond a cutoff of 1, the quantile counts. Neither exceeds
    the largest value seen, and the quantile is the end of the bin in which it is reached, of a
    finer one where an outlier makes 2048 bins too wide (``end_of_smallest``).

    TensorRT runs it after layer fusion. Raises ConfigError unless 0 < quantile <= 1 and
    0 <= regression_cutoff <= 1.
    """

    quantile: float = 0.9999
    regression_cutoff: float = 1.0
    name: ClassVar[str] = "legacy"
    after_fusion: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ConfigError(f"quantile={self.quantile} is out of range", "Use 0 < quantile <= 1")
        if not 0 <= self.regression_cutoff <= 1:
            raise ConfigError(
                f"regression_cutoff={self.regression_cutoff} is out of range", "Use 0 to 1"
            )

    @property
    def params(self) -> str:
        return f"quantile={self.quantile},regression_cutoff={self.regression_cutoff}"

    def amax(self, snapshot: Snapshot) -> float:
        """The regression's maximum if there is one, else the quantile; <= ``snapshot.amax``."""
        magnitudes = snapshot.magnitudes()
        bins = _tail_end(magnitudes, self.regression_cutoff)
        if bins is not None:
            return min(bins * magnitudes.width, snapshot.amax)
        # In whole numbers: 0.9999 * 10000 in floating point may or may not ask for one value more.
        needed = math.ceil(Fraction(str(self.quantile)) * snapshot.count)
        return end_of_smallest(snapshot, needed)


def _tail_end(magnitudes: Magnitudes, cutoff: float) -> float | None:
    """Where the line through the log counts beyond the cutoff meets one value, in bins."""
    centres = np.flatnonzero(magnitudes.counts)
    centres = centres[centres > cutoff * (magnitudes.counts.size - 1)]
    if centres.size < 2:
        return None
    away = centres - centres.mean()
    logs = np.log(magnitudes.counts[centres])
    slope = float(away @ logs) / float(away @ away)
    return float(centres.mean() - logs.mean() / slope) if slope < 0 else None
