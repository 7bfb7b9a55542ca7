"""Clip where the quantized distribution tells least apart from the true one: NVIDIA's KL search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.calibration.kernels import compiled
from bench.calibration.statistics import Counts, Snapshot, check_bins
from bench.errors import ConfigError

_TIE = 1e-12  # nats


@dataclass(frozen=True)
class Entropy2:
    """The threshold with the least Kullback-Leibler divergence, as ``IInt8EntropyCalibrator2``.

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017, in the form of NVIDIA ModelOpt's
    ``_compute_amax_entropy`` (modelopt/torch/quantization/calib/histogram.py): for i from
    ``levels`` to the number of bins, the *reference* is the first i bins with all that lies beyond
    added to the last of them; the *quantized* distribution is the same bins without what lies
    beyond, merged into ``levels`` levels, each spread evenly over its non-empty bins. Before the
    search, bin 0 is set to bin 1 (zeros cost nothing to quantize). Where the reference has mass and
    the quantized one has none the divergence is infinite; of equal minima the last wins.

    Unlike ModelOpt the search runs on *nearest* bins and yields the upper edge of the last bin
    kept, (i - 1 + 0.5) * max|x| / bins. That is what the caches written by TensorRT hold: 2048.5 /
    2048 of the maximum where nothing is clipped (half a bin above it), and 916.5 / 2048 for images
    with letterbox bars, whose grey, 114/255 = 915.6/2048, is then the last bin kept.

    Raises ConfigError unless 2 <= levels <= bins <= MOST_BINS.
    """

    bins: int = 2048
    levels: int = 128
    name: ClassVar[str] = "entropy2"

    def __post_init__(self) -> None:
        check_bins(self.bins)
        if not 2 <= self.levels <= self.bins:
            raise ConfigError(f"levels={self.levels} is out of range", f"Use 2 to bins={self.bins}")

    @property
    def params(self) -> str:
        return f"bins={self.bins},levels={self.levels}"

    def amax(self, snapshot: Snapshot) -> float:
        """The best upper edge, at most half a bin above ``snapshot.amax``."""
        magnitudes = snapshot.magnitudes(self.bins)
        counts = magnitudes.counts.copy()  # ModelOpt writes into the histogram others read later
        counts[0] = counts[1]
        found = _divergences(counts, self.levels)
        # Ties are real (a sparse histogram quantizes without loss at several i), and the sums below
        # are good to 1e-13: what lies within ten times that of the minimum is one with it.
        last = int(np.flatnonzero(found <= found.min() + _TIE)[-1])
        return magnitudes.upper_edge(last + self.levels - 1)


@compiled
def _divergences(counts: Counts, levels: int) -> npt.NDArray[np.float64]:
    """KL(reference || quantized) in nats when the first i bins are kept, i = levels .. counts.size.

    With p_b the share of bin b and t the share beyond the i bins kept, which goes to the last, and
    with q_b the quantized share before it is normalised by its sum Q = 1 - t,

        KL = sum r_b log r_b - sum r_b log q_b + log Q,   r_b = p_b, but r_(i-1) = p_(i-1) + t.

    Prefix sums of p log p, of counts and of non-empty bins give the first sum at once and the
    second one level by level, where q_b is constant: O(bins * levels) for all i together.
    """
    size = counts.size
    total = counts.sum()
    mass = np.zeros(size + 1, np.int64)
    occupied = np.zeros(size + 1, np.int64)
    p_log_p = np.zeros(size + 1)
    lost = 0.0  # to rounding (Kahan): over 2049 terms it would come close to the width of a tie
    for b in range(size):
        mass[b + 1] = mass[b] + counts[b]
        occupied[b + 1] = occupied[b] + (counts[b] > 0)
        term = _x_log_x(counts[b] / total) - lost
        p_log_p[b + 1] = p_log_p[b] + term
        lost = (p_log_p[b + 1] - p_log_p[b]) - term
    found = np.full(size - levels + 1, np.inf)
    for kept in range(levels, size + 1):
        tail = (total - mass[kept]) / total
        last = counts[kept - 1] / total
        if mass[kept] == 0 or (last == 0 and tail > 0):
            continue
        cross = 0.0
        log_q = 0.0
        begin = 0
        for level in range(1, levels + 1):
            # As np.digitize(range(kept), np.linspace(0, kept, levels + 1)), rounding included.
            end = kept if level == levels else int(np.ceil(level * (kept / levels)))
            if mass[end] > mass[begin]:
                share = (mass[end] - mass[begin]) / total
                log_q = np.log(share / (occupied[end] - occupied[begin]))
                cross += share * log_q
            begin = end
        cross += tail * log_q  # if there is a tail, the last bin is occupied: this is its level
        reference = p_log_p[kept] - _x_log_x(last) + _x_log_x(last + tail)
        found[kept - levels] = reference - cross + np.log(mass[kept] / total)
    return found


@compiled
def _x_log_x(x: float) -> float:
    return x * np.log(x) if x > 0 else 0.0
