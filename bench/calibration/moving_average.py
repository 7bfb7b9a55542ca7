"""Follow the extremes of the images with an exponential average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.calibration.statistics import Snapshot
from bench.errors import ConfigError

CLIP = 4.0
"""Sigmas from the mean beyond which an extreme is taken for an outlier."""


@dataclass(frozen=True)
class MovingAverage:
    """amax of the range mean - k * sigma .. mean + k * sigma of the batches' extremes.

    The mean and the variance of the lowest values of the batches and of the highest ones each start
    as those of the first ``warmup`` batches and then decay with ``beta`` a batch (T. Finch,
    "Incremental calculation of weighted mean and variance", 2009). An extreme more than four sigma
    off its mean counts as if it lay there, so that one freak image can't carry the range away. The
    symmetric range is the larger end, and never above the largest value seen.

    It follows the order of the images, and ``batch_size`` of them are one step: the snapshot keeps
    each image's extremes, as sums that forget would have to know beta when they are collected. So
    any beta and batch size can be asked of one pass, and the result is that of one worker which saw
    the images in order, however many there were.

    Raises ConfigError unless 0 <= beta < 1, 0 <= sigmas, and warmup and batch_size are 1 or more.
    """

    beta: float = 0.9
    sigmas: float = 3.0
    warmup: int = 8
    batch_size: int = 1
    name: ClassVar[str] = "moving_average"

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ConfigError(f"beta={self.beta} is out of range", "Use 0 <= beta < 1")
        if not 0 <= self.sigmas < math.inf:
            raise ConfigError(f"sigmas={self.sigmas} is out of range", "Use 0 or more")
        for option in ("warmup", "batch_size"):
            if getattr(self, option) < 1:
                raise ConfigError(
                    f"{option}={getattr(self, option)} is out of range", "Use 1 or more"
                )

    @property
    def params(self) -> str:
        return (
            f"beta={self.beta},sigmas={self.sigmas},"
            f"warmup={self.warmup},batch_size={self.batch_size}"
        )

    def amax(self, snapshot: Snapshot) -> float:
        """The larger end of the range, at most ``snapshot.amax``."""
        if snapshot.count == 0:
            return 0.0
        low, high = snapshot.extremes.astype(np.float64).T
        starts = np.arange(0, low.size, self.batch_size)
        reach = max(
            self._reach(-np.minimum.reduceat(low, starts)),
            self._reach(np.maximum.reduceat(high, starts)),
        )
        return min(reach, snapshot.amax)

    def _reach(self, extremes: npt.NDArray[np.float64]) -> float:
        """mean + k * sigma after the last of ``extremes``."""
        first = extremes[: self.warmup]
        mean, variance = float(first.mean()), float(first.var())
        for value in extremes[self.warmup :].tolist():
            off = value - mean
            if variance > 0:  # of equal batches any other would be an outlier
                limit = CLIP * math.sqrt(variance)
                off = min(max(off, -limit), limit)
            mean += (1 - self.beta) * off
            variance = self.beta * (variance + (1 - self.beta) * off * off)
        return mean + self.sigmas * math.sqrt(variance)
