"""An estimate with its interval, and the draws of the images that tell it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.int32]
"""(resamples, n_images) int32: how often each image stands in each resample."""
Replicates = npt.NDArray[np.float64]
"""(resamples,) float64: the score of one system on each resample."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, unless another level is named.

    ``low`` and ``high`` are nan where nothing tells how sure the estimate is: then no comparison
    with them holds, and nothing is proven.
    """

    estimate: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """``low`` and ``high``, None where they are not known."""
        return (self.low, self.high) if self.known else (None, None)
