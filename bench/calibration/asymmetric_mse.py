"""Clip where the mean squared error of asymmetric quantization is least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.calibration.histogram import check_start
from bench.calibration.kernels import compiled
from bench.calibration.resolution import fine_signed_centres, mass_end
from bench.calibration.statistics import Snapshot

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AsymmetricMse:
    """``mse`` for ``scheme=asymmetric``: the error of uint8 with a zero point decides.

    For a threshold t the range is what was seen, cut at -t and t, in 255 steps with zero on one of
    them. Candidates are the bin centres of |x| from ``start_bin`` on, and the largest value seen is
    the last; the error is summed over the bins, ``bins`` on either side of zero, which has its own;
    the first minimum wins. (NVIDIA's ``_compute_amax_mse`` knows the symmetric grid alone; this is
    the same search on the other grid.) Where values lie on both sides alike it differs from ``mse``
    by next to nothing; of one-sided tensors, for which a step is half as wide, it clips less. Below
    an outlier it looks closer, as ``mse`` does.

    Raises ConfigError unless 1 <= start_bin <= bins <= MOST_BINS.
    """

    bins: int = 2048
    start_bin: int = 128
    name: ClassVar[str] = "asymmetric_mse"

    def __post_init__(self) -> None:
        check_start(self.start_bin, self.bins)

    @property
    def params(self) -> str:
        return f"bins={self.bins},start_bin={self.start_bin}"

    def amax(self, snapshot: Snapshot) -> float:
        """The best threshold, at most ``snapshot.amax``."""
        if snapshot.amax == 0:
            return 0.0
        below, above = snapshot.sides(self.bins)
        width = above.width
        thresholds = np.arange(self.start_bin, self.bins + 1, dtype=np.float64)
        seen = snapshot.min, snapshot.max
        end = mass_end(snapshot)
        if end < snapshot.amax:
            centres, weights = fine_signed_centres(snapshot)
            both = np.append(thresholds * (end / self.bins), thresholds * width)
            return float(both[np.argmin(_squared_errors(centres, weights, both, *seen))])
        counts = np.concatenate((below.counts[::-1], above.counts))  # zero twice: -0 and 0
        half = counts.size // 2  # bins on either side, zero included
        filled = np.flatnonzero(counts)
        centres = np.where(filled < half, filled - (half - 1), filled - half).astype(np.float64)
        weights = counts[filled].astype(np.float64)
        in_bins = seen[0] / width, seen[1] / width
        best = np.argmin(_squared_errors(centres, weights, thresholds, *in_bins))
        return float(thresholds[best]) * width


@compiled
def _squared_errors(
    centres: Floats, weights: Floats, thresholds: Floats, lowest: float, highest: float
) -> Floats:
    """Summed squared error of each of the ``thresholds``, all in the same unit."""
    errors = np.zeros(thresholds.size)
    for i in range(errors.size):
        low = max(min(lowest, 0.0), -thresholds[i])
        high = min(max(highest, 0.0), thresholds[i])
        step = (high - low) / 255.0
        zero = np.rint(-low / step)
        for j in range(centres.size):
            level = min(max(np.rint(centres[j] / step) + zero, 0.0), 255.0) - zero
            errors[i] += weights[j] * (level * step - centres[j]) ** 2
    return errors
