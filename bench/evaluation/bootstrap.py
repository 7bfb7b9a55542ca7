"""The score of a system on many draws of the images, without matching again.

A draw is a row of weights: how often each image came. ``map_replicates`` and ``mean_replicates``
score one system on every draw, so that a baseline compared with many systems is scored once. Draws
are half-samples (see ``bench.evaluation.interval``) or, with ``resample_weights``, those of the
bootstrap, whose percentile interval ``paired_bootstrap`` gives.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993: chapter 13 for the
percentile interval, section 8.3 for resampling the units that were sampled, here images.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from bench.evaluation.estimate import Interval, Replicates, Weights
from bench.evaluation.matches import N_IOU, RECALLS, MatchTable


def resample_weights(n_images: int, resamples: int = 1000, seed: int = 0) -> Weights:
    """Draw ``n_images`` images with replacement, ``resamples`` times; the seed decides all."""
    rng = np.random.default_rng(seed)
    share = np.full(n_images, 1 / n_images)
    weights = np.empty((resamples, n_images), dtype=np.int32)
    for row in weights:  # row by row: 1,000 resamples of ImageNet's 50,000 images fill int64 memory
        row[:] = rng.multinomial(n_images, share)
    return weights


def mean_replicates(values: npt.ArrayLike, weights: Weights) -> Replicates:
    """Mean of the per-image ``values`` (n_images,), bool or number, on each resample."""
    per_image = np.asarray(values, dtype=np.float64)
    # einsum converts piece by piece; ``@`` would hold a float64 copy of all weights.
    replicates: Replicates = np.einsum("rn,n->r", weights, per_image) / weights.sum(axis=1)
    return replicates


def class_replicates(
    matches: MatchTable, weights: Weights, iou: slice = slice(None)
) -> npt.NDArray[np.float64]:
    """(resamples, n_classes): each class's average precision on each resample.

    Averaged over the thresholds ``iou``; nan where the resample has no box of the class. Raises
    ValueError when the weights are not for ``matches.n_images`` images or ``iou`` selects no
    threshold.
    """
    thresholds = range(N_IOU)[iou]
    if weights.ndim != 2 or weights.shape[1] != matches.n_images or not thresholds:
        raise ValueError(
            f"weights of shape {weights.shape} and {len(thresholds)} IoU thresholds"
            f" for a table of {matches.n_images} images"
        )
    # Counts are exact in float64, and only float matrices multiply fast.
    positives = (weights.astype(np.float64) @ matches.positives).astype(np.int64)
    total = np.zeros(positives.shape, dtype=np.float64)
    for threshold in thresholds:
        detections = _relevant(matches, threshold)
        _add_precisions(total, weights, positives, *detections, RECALLS)  # type: ignore[call-arg]
    return np.where(positives > 0, total / (len(thresholds) * len(RECALLS)), np.nan)


def map_replicates(matches: MatchTable, weights: Weights, iou: slice = slice(None)) -> Replicates:
    """``matches.map(row, iou)`` for each row of ``weights``, by a compiled kernel.

    nan for a resample that has no box to find. Raises what ``class_replicates`` does.
    """
    return mean_over_classes(class_replicates(matches, weights, iou))


def mean_over_classes(by_class: npt.NDArray[np.float64]) -> Replicates:
    """mAP from the classes' average precisions (resamples, n_classes): nan counts for nothing."""
    known = ~np.isnan(by_class)
    replicates = np.full(len(by_class), np.nan, dtype=np.float64)
    np.divide(np.nansum(by_class, axis=1), known.sum(axis=1), out=replicates, where=known.any(1))
    return replicates


def class_mean_replicates(
    values: npt.ArrayLike, classes: npt.NDArray[np.int64], n_classes: int, weights: Weights
) -> npt.NDArray[np.float64]:
    """(resamples, n_classes): ``mean_replicates`` of the images of each class, nan without one.

    ``classes`` (n_images,) tells each image's class, in [0, n_classes).
    """
    per_image = np.asarray(values, dtype=np.float64)
    replicates = np.full((len(weights), n_classes), np.nan, dtype=np.float64)
    for label in np.unique(classes):
        images_of_class = np.flatnonzero(classes == label)
        drawn = weights[:, images_of_class].sum(axis=1)
        np.divide(
            weights[:, images_of_class] @ per_image[images_of_class],
            drawn,
            out=replicates[:, label],
            where=drawn > 0,
        )
    return replicates


def paired_bootstrap(
    estimate: float, baseline: Replicates, candidate: Replicates, level: float = 0.95
) -> Interval:
    """The percentile interval of candidate minus baseline.

    ``estimate`` is that difference on the images themselves; the replicates (resamples,) must come
    from the same weights, row by row. Resamples on which a score is undefined (nan) are left out.
    The interval need not contain the estimate, although it nearly always does.
    Raises ValueError for different numbers of replicates or a level outside (0, 1).
    """
    if baseline.shape != candidate.shape or not 0 < level < 1:
        raise ValueError(f"cannot pair {baseline.shape} with {candidate.shape} at level {level}")
    difference = candidate - baseline
    difference = difference[~np.isnan(difference)]
    if not len(difference):
        return Interval(estimate)
    low, high = np.quantile(difference, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def _relevant(matches: MatchTable, threshold: int) -> tuple[npt.NDArray[Any], ...]:
    """The detections that can change AP at one IoU threshold: hit, image, tied, class_start.

    Ignored ones never count; those ranked behind the last true positive of their class only lower
    precision where no recall is read. (Ties with that true positive stay: in an image that stands
    twice they come before its second copy.)
    """
    hit = (matches.hit >> threshold & 1).astype(np.bool_)
    counted = (matches.ignored >> threshold & 1) == 0
    group = np.cumsum(~matches.tied)
    for start, stop in zip(matches.class_start[:-1], matches.class_start[1:], strict=True):
        hits = start + np.flatnonzero(hit[start:stop])
        last = group[hits[-1]] if len(hits) else -1
        counted[start:stop] &= group[start:stop] <= last
    position = np.flatnonzero(counted)
    tied = np.zeros(len(position), dtype=np.bool_)
    tied[1:] = group[position[1:]] == group[position[:-1]]
    return (
        hit[counted],
        matches.image[counted],
        tied,
        np.searchsorted(position, matches.class_start),
    )


@numba.njit(cache=True)
def _add_precisions(
    total: Any,
    weights: Any,
    positives: Any,
    hit: Any,
    image: Any,
    tied: Any,
    class_start: Any,
    recalls: Any,
) -> None:
    """Add to ``total`` (resamples, n_classes) the precisions at all recalls, for one IoU.

    ``positives`` (resamples, n_classes) are the boxes to find. Detections are walked from the last
    to the first: the best precision met so far is then COCO's envelope (the best at this recall or
    a higher one), and each true positive settles the recalls that only it and its successors reach.
    Copies of one detection stand together, so a true positive of weight w is one step of w: the
    precision rises within the step, and its end is all that the envelope sees. A step of 0 alters
    nothing.
    """
    tiny = np.spacing(1.0)  # as in COCOeval
    for resample in range(len(weights)):
        weight = weights[resample]
        for label in range(len(class_start) - 1):
            to_find = positives[resample, label]
            if to_find == 0:
                continue
            true = seen = 0
            for detection in range(class_start[label], class_start[label + 1]):
                seen += weight[image[detection]]
                true += weight[image[detection]] * hit[detection]
            recall = len(recalls) - 1  # the highest one not yet settled
            while recalls[recall] > true / to_find:  # ends at the latest at recall 0
                recall -= 1
            best = 0.0
            stop = class_start[label + 1]
            while stop > class_start[label]:
                start = stop - 1
                while tied[start]:
                    start -= 1
                # Ties within an image interleave with their copies: one walk for each copy.
                walks, step = 1, weight[image[start]]
                if stop - start > 1:
                    walks, step = step, 1
                for _ in range(walks):
                    for detection in range(stop - 1, start - 1, -1):
                        if hit[detection]:
                            best = max(best, true / (seen + tiny))
                            true -= step
                            while recalls[recall] > true / to_find:
                                total[resample, label] += best
                                recall -= 1
                        seen -= step
                stop = start
            total[resample, label] += best  # recall 0
