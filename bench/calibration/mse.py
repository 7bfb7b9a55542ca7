"""Clip where the mean squared error of quantization is least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.calibration.histogram import Counts, check_start
from bench.calibration.kernels import compiled
from bench.calibration.statistics import Snapshot


@dataclass(frozen=True)
class Mse:
    """The bin centre that, as threshold, minimises the squared error of INT8 fake quantization.

    The *symmetric* rule: the range is [-amax, amax] with zero point 0, chosen on |x|, as NVIDIA's
    pytorch-quantization and ModelOpt do (``_compute_amax_mse``). Every bin centre is quantized
    (scale = amax / 127, round half to even, clipped at 127) and its squared error weighted by its
    count; candidates are the bin centres from ``start_bin`` on; the first minimum wins. The last
    candidate is the largest value seen, so nothing is clipped unless that pays.

    On the same histogram the bin is ModelOpt's, once its call of ``fake_tensor_quant`` is mended:
    in 0.29.0 to 0.47.0 it always ends at ``start_bin`` (``scripts/parity_modelopt.py``). But the
    histogram is ours, of bins centred on the multiples of amax / bins; ModelOpt's begin there, and
    its last candidate clips half a bin. Minima are flat: of 229 tensors of four networks that moves
    the threshold by 0.4 % in the median and 25 % at most, the squared error by 1.3 % at most, save
    for one input that gains 6 % because its maximum, a frequent value, is not clipped.

    Raises ConfigError unless 1 <= start_bin <= bins <= MOST_BINS.
    """

    bins: int = 2048
    start_bin: int = 128
    name: ClassVar[str] = "mse"

    def __post_init__(self) -> None:
        check_start(self.start_bin, self.bins)

    @property
    def params(self) -> str:
        return f"bins={self.bins},start_bin={self.start_bin}"

    def amax(self, snapshot: Snapshot) -> float:
        """The best bin centre, at most ``snapshot.amax``."""
        magnitudes = snapshot.magnitudes(self.bins)
        errors = _squared_errors(magnitudes.counts, self.start_bin)
        return (self.start_bin + int(np.argmin(errors))) * magnitudes.width


@compiled
def _squared_errors(counts: Counts, start: int) -> npt.NDArray[np.float64]:
    """Summed squared error, in bins, for each threshold of ``start`` .. counts.size - 1 bins.

    Bins are the unit of length, so the choice does not depend on the tensor's scale.
    """
    centres = np.flatnonzero(counts).astype(np.float64)
    weights = counts[counts > 0].astype(np.float64)
    errors = np.zeros(counts.size - start)
    for i in range(errors.size):
        step = (start + i) / 127.0
        for j in range(centres.size):
            level = min(np.rint(centres[j] / step), 127.0)
            errors[i] += weights[j] * (level * step - centres[j]) ** 2
    return errors
