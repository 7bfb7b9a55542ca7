"""A detector's operating point: the score from which on its detections are accepted.

mAP reads every score in order and no score by itself, so it does not see when quantization presses
all scores together: the order stays, but a threshold that was chosen for FP32 then drops half of
the objects. So this module looks for the threshold of the best F1, the harmonic mean of precision
and recall, pooled over all classes and images at IoU 0.5, of FP32 and of INT8. COCO matches in
the order of scores, so what is believed above a threshold matches the same with all the rest away.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from bench.evaluation.bootstrap import paired_bootstrap, resample_weights
from bench.evaluation.estimate import Replicates, Weights
from bench.evaluation.matches import MatchTable

Counts = npt.NDArray[np.int64]
"""(n_images, 3) int64: detections believed, those of them that are right, objects to find."""


@dataclass(frozen=True)
class ThresholdShift:
    """The thresholds of the best F1 of both systems, and INT8's loss at FP32's threshold.

    ``f1_at_fp32_threshold`` is INT8's F1 there. On the images on which a threshold was chosen it
    looks better than it is, so the interval compares both thresholds on the images of the other
    half: ``low`` to ``high`` is the 95 % interval of F1 at FP32's threshold minus F1 at INT8's;
    below zero, keeping FP32's threshold is a real loss. It is a paired bootstrap in which each
    resample chooses its thresholds anew (copies of an image stay in one half). That is careful:
    were they chosen once, two systems that differ by noise alone would pass for a loss in up to 11
    of 100 simulated sets of 60 to 300 images; so, they did in none.

    ``loss_low`` to ``loss_high`` is the same of INT8's F1 at FP32's threshold minus FP32's F1
    there: what a user loses who changes nothing.
    """

    fp32: float
    int8: float
    f1_fp32: float
    f1_int8: float
    f1_at_fp32_threshold: float
    low: float
    high: float
    loss_low: float
    loss_high: float


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """Where a system's F1 is best, and what that is worth on images it was not chosen on.

    FP32's is asked for by every run of a sweep, and computed once.
    """

    matches: MatchTable

    @cached_property
    def best(self) -> float | None:
        """The threshold of the best F1 on all images; None where nothing found is right."""
        return best_threshold(self.matches, np.ones(self.matches.n_images, np.bool_))

    @cached_property
    def weights(self) -> Weights:
        """(1 + resamples, n_images): the images themselves, then the resamples."""
        itself = np.ones((1, self.matches.n_images), np.int32)
        return np.concatenate([itself, resample_weights(self.matches.n_images)])

    @cached_property
    def chosen(self) -> npt.NDArray[np.float32]:
        """(1 + resamples, 2): the best thresholds of the halves of each resample."""
        assert self.best is not None
        return _chosen(self.matches, self.weights, self.best)

    @cached_property
    def held_out_f1(self) -> Replicates:
        """(1 + resamples,): F1 of each half at the threshold of the other."""
        return _held_out_f1(self.matches, self.chosen, self.weights)


def find_shift(fp32: OperatingPoint, int8: OperatingPoint) -> ThresholdShift | None:
    """Compare two systems on the same images; None where either finds nothing that is right."""
    before, after = fp32.best, int8.best
    if before is None or after is None:
        return None
    at_fp32, at_best = _held_out_f1(int8.matches, fp32.chosen, fp32.weights), int8.held_out_f1
    float_ = fp32.held_out_f1
    interval = paired_bootstrap(float(at_fp32[0] - at_best[0]), at_best[1:], at_fp32[1:])
    loss = paired_bootstrap(float(at_fp32[0] - float_[0]), float_[1:], at_fp32[1:])
    return ThresholdShift(
        fp32=before,
        int8=after,
        f1_fp32=f1(count(fp32.matches, before).sum(0)),
        f1_int8=f1(count(int8.matches, after).sum(0)),
        f1_at_fp32_threshold=f1(count(int8.matches, before).sum(0)),
        low=interval.low,
        high=interval.high,
        loss_low=loss.low,
        loss_high=loss.high,
    )


def best_threshold(matches: MatchTable, images: npt.NDArray[np.bool_]) -> float | None:
    """The lowest score to believe for the best F1 on ``images`` (n_images,), a mask.

    Of equally good ones the highest. None where no detection there is right.
    """
    score, hit, image = _counted(matches)
    drawn = images[image]
    score, right = score[drawn], np.cumsum(hit[drawn])
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


def _chosen(matches: MatchTable, weights: Weights, otherwise: float) -> npt.NDArray[np.float32]:
    """(resamples, 2): the best threshold on the even images of each resample, and on the odd ones.

    ``otherwise`` where no detection there is right.
    """
    chosen = np.full((len(weights), 2), otherwise, np.float32)
    to_find = matches.positives.sum(axis=1, dtype=np.int64)
    halves = np.stack([weights[:, half::2] @ to_find[half::2] for half in (0, 1)], axis=1)
    _choose(chosen, *_counted(matches), weights, halves)
    return chosen


def _held_out_f1(
    matches: MatchTable, chosen: npt.NDArray[np.float32], weights: Weights
) -> Replicates:
    """F1 of each resample, of each half of its images at the threshold ``chosen`` on the other."""
    counts = np.zeros((len(weights), 2), np.int64)
    _count_held_out(counts, *_counted(matches), weights, chosen)
    believed, right = counts.T.astype(np.float64)
    whole = believed + weights @ matches.positives.sum(axis=1, dtype=np.int64)
    replicates = np.full(len(weights), np.nan, np.float64)
    np.divide(2 * right, whole, out=replicates, where=whole > 0)
    return replicates


@numba.njit(cache=True)
def _choose(chosen: Any, score: Any, hit: Any, image: Any, weights: Any, to_find: Any) -> None:
    """Fill ``chosen``, walking the detections from the best score down."""
    believed, right, best = np.zeros(2), np.zeros(2), np.zeros(2)
    for resample in range(len(weights)):
        objects = to_find[resample]
        believed[:], right[:], best[:] = 0, 0, 0
        for detection in range(len(score)):
            half, weight = image[detection] % 2, weights[resample, image[detection]]
            believed[half] += weight
            right[half] += weight * hit[detection]
            if detection + 1 < len(score) and score[detection + 1] == score[detection]:
                continue  # no threshold parts equal scores
            for half in range(2):
                if right[half]:
                    quality = 2 * right[half] / (believed[half] + objects[half])
                    if quality > best[half]:
                        best[half] = quality
                        chosen[resample, half] = score[detection]
            # Even if all that is left to find came next, no F1 from here on would be better.
            if (
                best[0] * (believed[0] + objects[0]) >= 2 * objects[0]
                and best[1] * (believed[1] + objects[1]) >= 2 * objects[1]
            ):
                break


@numba.njit(cache=True)
def _count_held_out(
    counts: Any, score: Any, hit: Any, image: Any, weights: Any, chosen: Any
) -> None:
    """Add to ``counts`` (resamples, 2) the detections believed, and the right ones of them."""
    for resample in range(len(weights)):
        lowest = min(chosen[resample, 0], chosen[resample, 1])
        for detection in range(len(score)):
            if score[detection] < lowest:
                break
            if score[detection] >= chosen[resample, 1 - image[detection] % 2]:
                weight = weights[resample, image[detection]]
                counts[resample, 0] += weight
                counts[resample, 1] += weight * hit[detection]


def _counted(
    matches: MatchTable,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
    """Score, whether right at IoU 0.5, and image of every detection that counts, best first."""
    counted = np.flatnonzero((matches.ignored & 1) == 0)
    ranked = counted[np.argsort(-matches.score[counted], kind="stable")]
    return matches.score[ranked], (matches.hit[ranked] & 1) == 1, matches.image[ranked]
