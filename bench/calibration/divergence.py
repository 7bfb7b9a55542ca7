"""How far quantized distributions lie from the true one, for every number of bins kept.

The *reference* is the first bins of a histogram with all that lies beyond added to the last of
them; the *quantized* distribution is the same bins without what lies beyond, merged into levels,
each spread evenly over its non-empty bins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.calibration.bins import Counts
from bench.calibration.kernels import compiled

_SMOOTH = 0.0001  # values, what onnxruntime puts into an empty bin


@compiled
def divergences(
    counts: Counts, levels: int, fewest: int, inset: int, beyond: int = 0
) -> npt.NDArray[np.float64]:
    """KL(reference || quantized) in nats when ``fewest`` .. counts.size bins are kept.

    ``beyond`` more values lie above all bins: a part of every tail.

    Of i bins kept, bin b falls into level floor(b * levels / (i - inset)), the last one into the
    last level. With p_b the share of bin b and t the share beyond the i bins kept, which goes to
    the last, and with q_b the quantized share before it is normalised by its sum Q = 1 - t,

        KL = sum r_b log r_b - sum r_b log q_b + log Q,   r_b = p_b, but r_(i-1) = p_(i-1) + t.

    Prefix sums of p log p, of counts and of non-empty bins give the first sum at once and the
    second one level by level, where q_b is constant: O(bins * levels) for all i together.
    """
    size = counts.size
    total = counts.sum() + beyond
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
    divergence = np.full(size - fewest + 1, np.inf)
    for n_bins in range(fewest, size + 1):
        tail = (total - mass[n_bins]) / total
        last = counts[n_bins - 1] / total
        if mass[n_bins] == 0 or (last == 0 and tail > 0):
            continue
        cross = 0.0
        log_q = 0.0
        begin = 0
        for level in range(1, levels + 1):
            # As np.digitize(range(n_bins), np.linspace(0, n_bins, levels + 1)), with its rounding.
            end = n_bins if level == levels else int(np.ceil(level * ((n_bins - inset) / levels)))
            if mass[end] > mass[begin]:
                share = (mass[end] - mass[begin]) / total
                log_q = np.log(share / (occupied[end] - occupied[begin]))
                cross += share * log_q
            begin = end
        cross += tail * log_q  # if there is a tail, the last bin is occupied: this is its level
        reference = p_log_p[n_bins] - _x_log_x(last) + _x_log_x(last + tail)
        divergence[n_bins - fewest] = reference - cross + np.log(mass[n_bins] / total)
    return divergence


@compiled
def _x_log_x(x: float) -> float:
    return x * np.log(x) if x > 0 else 0.0


def smooth_divergence(counts: Counts, start: int, end: int, levels: int) -> np.float32:
    """onnxruntime's divergence, in float32, when the bins ``start`` .. ``end`` - 1 are kept."""
    inner = counts[start:end]
    reference = inner.copy()
    reference[0] += counts[:start].sum()
    reference[-1] += counts[end:].sum()
    width = inner.size // levels
    whole = levels * width
    merged = inner[:whole].reshape(levels, width).sum(axis=1)
    merged[-1] += inner[whole:].sum()
    occupied = np.count_nonzero(reference[:whole].reshape(levels, width), axis=1)
    quantized = np.zeros_like(inner)
    quantized[:whole] = np.repeat(
        np.where(occupied > 0, merged // np.maximum(occupied, 1), 0), width
    )
    if not (reference.any() and quantized.any()):
        return np.float32(np.inf)
    p, q = (_smooth(histogram) for histogram in (reference, quantized))
    return np.sum(p * np.log(p / q), dtype=np.float32)


def _smooth(counts: Counts) -> npt.NDArray[np.float32]:
    """Shares without zeros: what the empty bins get is taken off the others evenly."""
    empty = counts == 0
    taken = _SMOOTH * float(empty.sum()) / float((~empty).sum())
    smooth = counts.astype(np.float32) + np.where(empty, _SMOOTH, -taken).astype(np.float32)
    return smooth / np.sum(smooth)
