"""Where a detector is put to work: the score from which on its detections are believed.

mAP reads every score in order and no score by itself, so it does not see when quantization presses
all scores together: the order stays, but a threshold that was chosen for FP32 then drops half of
the objects. So this module looks for the threshold of the best F1, the harmonic mean of precision
and recall, pooled over all classes and images at IoU 0.5, of FP32 and of INT8. COCO matches in
the order of scores, so what is believed above a threshold matches the same with all the rest away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.evaluation.bootstrap import paired_bootstrap, resample_weights
from bench.evaluation.matches import MatchTable

Counts = npt.NDArray[np.int64]
"""(n_images, 3) int64: detections believed, those of them that are right, objects to find."""


@dataclass(frozen=True)
class ThresholdShift:
    """The thresholds of the best F1 of both systems, and what it costs INT8 to keep FP32's.

    ``f1_kept`` is INT8's F1 at FP32's threshold. On the images on which a threshold was chosen
    it looks better than it is, so the interval compares both thresholds on the images of the other
    half: ``low`` to ``high`` is the 95 % interval of F1 at FP32's threshold minus F1 at INT8's own
    (paired bootstrap); below zero, keeping FP32's threshold is a real loss.
    """

    fp32: float
    int8: float
    f1_fp32: float
    f1_int8: float
    f1_kept: float
    low: float
    high: float


def find_shift(fp32: MatchTable, int8: MatchTable) -> ThresholdShift | None:
    """Compare two systems on the same images; None where either finds nothing that is right."""
    everywhere = np.ones(fp32.n_images, np.bool_)
    before, after = best_threshold(fp32, everywhere), best_threshold(int8, everywhere)
    if before is None or after is None:
        return None
    kept, own = _held_out(int8, fp32, before), _held_out(int8, int8, after)
    weights = resample_weights(fp32.n_images)
    interval = paired_bootstrap(
        f1(kept.sum(0)) - f1(own.sum(0)),
        _f1_replicates(own, weights),
        _f1_replicates(kept, weights),
    )
    return ThresholdShift(
        fp32=before,
        int8=after,
        f1_fp32=f1(count(fp32, before).sum(0)),
        f1_int8=f1(count(int8, after).sum(0)),
        f1_kept=f1(count(int8, before).sum(0)),
        low=interval.low,
        high=interval.high,
    )


def best_threshold(matches: MatchTable, images: npt.NDArray[np.bool_]) -> float | None:
    """The lowest score to believe for the best F1 on ``images`` (n_images,), a mask.

    Of equally good ones the highest. None where no detection there is right.
    """
    score, hit, image = _counted(matches)
    own = images[image]
    score, hit = score[own], hit[own]
    order = np.argsort(-score, kind="stable")
    score, right = score[order], np.cumsum(hit[order])
    if not len(right) or not right[-1]:
        return None
    to_find = int(matches.positives[images].sum())
    quality = 2 * right / (np.arange(1, len(right) + 1) + to_find)
    quality[:-1][score[:-1] == score[1:]] = 0  # no threshold parts equal scores
    return float(score[quality.argmax()])


def count(matches: MatchTable, threshold: float) -> Counts:
    """What each image comes to when detections of at least ``threshold`` are believed."""
    score, hit, image = _counted(matches)
    believed = score >= np.float32(threshold)
    columns = [
        np.bincount(image[believed], minlength=matches.n_images),
        np.bincount(image[believed & hit], minlength=matches.n_images),
        matches.positives.sum(axis=1, dtype=np.int64),
    ]
    return np.stack(columns, axis=1).astype(np.int64)


def f1(counts: Counts) -> float:
    """Of one line of counts (3,); nan where there is nothing to find and nothing is believed.

    >>> f1(np.array([4, 3, 6]))
    0.6
    """
    believed, right, to_find = counts.tolist()
    return 2 * right / (believed + to_find) if believed + to_find else float("nan")


def _held_out(matches: MatchTable, chooser: MatchTable, otherwise: float) -> Counts:
    """Counts of each half of the images at the threshold that ``chooser`` has on the other half."""
    odd = np.arange(matches.n_images) % 2 == 1
    counts = np.zeros((matches.n_images, 3), np.int64)
    for half in (odd, ~odd):
        threshold = best_threshold(chooser, ~half)
        counts[half] = count(matches, otherwise if threshold is None else threshold)[half]
    return counts


def _f1_replicates(counts: Counts, weights: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    believed, right, to_find = (weights @ counts).T.astype(np.float64)
    whole = believed + to_find
    replicates = np.full(len(weights), np.nan, np.float64)
    np.divide(2 * right, whole, out=replicates, where=whole > 0)
    return replicates


def _counted(
    matches: MatchTable,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
    """Score, whether right at IoU 0.5, and image of every detection that counts there."""
    counted = (matches.ignored & 1) == 0
    return matches.score[counted], (matches.hit[counted] & 1) == 1, matches.image[counted]
