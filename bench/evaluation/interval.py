"""Uncertainty of an estimate: over images by half-samples, over calibration sets by their spread.

A *half-sample* is one half of the images, drawn without replacement. The score of many halves tells
the standard error of the score of all images (the delete-d jackknife with d = n / 2: J. Shao and
C. F. J. Wu, A general theory for jackknife variance estimation, Annals of Statistics 17, 1989). The
bootstrap repeats images, and average precision rises when an image stands twice (by 0.005 to 0.008
on 85 simulated images, in every set): in simulations (results/reference/coverage.csv) its 95 %
intervals of a loss of mAP covered 56 to 96 % of the time, the lower the rarer the classes; those of
half-samples 94 to 97 % where there were FEWEST_PER_CLASS images of a class.

Every system is scored on the same halves, so differences are paired: what is common to two systems
(hard images stay hard after quantization) cancels.

Calibration sets are a separate level: their variance is added, each level with the Student's t
of its degrees of freedom (W. G. Howe, Approximate confidence limits on the mean of X + Y where X
and Y are two tabled independent random variables, Journal of the American Statistical Association
69, 1974). Satterthwaite's degrees of freedom would be too many whenever the few sets happen to lie
close together: simulated with normal errors, such 95 % intervals cover 87 to 95 % with 2 or 3 sets,
Howe's 96 to 99 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtridf, stdtrit

from bench.evaluation.estimate import Interval, Replicates, Weights

HALVES = 600
"""Half-samples: the standard error is then good to 3 %."""

LEVEL = 0.95

FEWEST_IMAGES = 6
"""Below that there is no interval: a loss on each of five images may be chance (sign test, p =
0.06)."""

FEWEST_PER_CLASS = 20
"""Images of a class, in the mean of all classes, below which an interval of mAP may be too narrow:
rare classes are missing, and a class of few objects shows less of a loss than it has. Simulated
with 80 classes, the k-th 1 / k as frequent as the first, and a loss of 0.1, the coverage is 75 % at
4, 93 % at 13 and 97 % at 21 (results/reference/coverage.csv). Classes of like frequency need fewer.
"""


@dataclass(frozen=True)
class Uncertainty:
    """Of an estimate: its standard ``error``, its small-sample ``bias`` (see ``over_images``) and
    the degrees of ``freedom`` of the error."""

    error: float
    bias: float
    freedom: float

    def interval(self, estimate: float, level: float = LEVEL, widen: float = 1.0) -> Interval:
        """Student's t interval, ``widen`` times as wide, stretched to where the bias points.

        Not moved there: what half of the images tell of the bias of all is not precise.
        """
        reach = widen * float(stdtrit(self.freedom, (1 + level) / 2)) * self.error
        low = estimate - reach - max(self.bias, 0.0)
        high = estimate + reach - min(self.bias, 0.0)
        return Interval(estimate, low, high)


def half_samples(n_images: int, count: int = HALVES, seed: int = 0) -> Weights:
    """(count, n_images) int32: 1 for the images of each half, 0 for the others.

    Halves come in pairs that share no image, so that each image stands in (nearly) as many.
    """
    rng = np.random.default_rng(seed)
    size = max(1, n_images // 2)
    weights = np.zeros((count, n_images), dtype=np.int32)
    for first in range(0, count, 2):
        order = rng.permutation(n_images)
        weights[first, order[:size]] = 1
        weights[min(first + 1, count - 1), order[-size:]] = 1
    return weights


def over_images(
    estimate: float, halves: Replicates, n_images: int, least_error: float = 0.0
) -> Uncertainty:
    """Of an ``estimate`` on ``n_images`` images, from its values on ``halves`` (halves,) of them.

    Halves on which it is undefined (nan) are left out. The error is nan where that leaves none,
    and below FEWEST_IMAGES. ``least_error`` is added (as variances are): see ``rule_of_three``.

    The bias of average precision falls with the images, the slower the rarer the classes: by 1.4 to
    2 each time they double in simulations, that is between their root and their number. From half
    of the images to all of them it is taken to fall with the root, which expects the more of it.
    """
    defined = halves[~np.isnan(halves)]
    if n_images < FEWEST_IMAGES or defined.size < 2:
        return Uncertainty(math.nan, 0.0, max(n_images - 1, 1))
    size = n_images // 2
    variance = float(defined.var()) * size / (n_images - size)
    error = math.sqrt(variance + least_error**2)
    bias = (float(defined.mean()) - estimate) / (math.sqrt(n_images / size) - 1)
    return Uncertainty(error, bias, n_images - 1)


def rule_of_three(n_images: int) -> float:
    """The standard error that a share of ``n_images`` images has at least.

    What none of n images shows may still happen in 3 / n of them (J. A. Hanley and A.
    Lippman-Hand, If nothing goes wrong, is everything all right?, JAMA 249, 1983). The spread of
    such images is zero and would say that it never happens.
    """
    return 1.5 / (n_images + 2)


def with_sets(images: Uncertainty, values: Sequence[float]) -> Uncertainty:
    """Of a mean over calibration sets: ``images`` is its uncertainty over images, ``values`` are
    those of each set. A single value tells nothing, and adds nothing.

    The degrees of freedom are those with which the interval of ``LEVEL`` is Howe's.
    """
    if len(values) < 2:
        return images
    between = float(np.var(values, ddof=1)) / len(values)
    within = images.error**2
    if math.isnan(within) or between == 0:
        return images
    of_images, of_sets = (
        float(stdtrit(freedom, (1 + LEVEL) / 2)) for freedom in (images.freedom, len(values) - 1)
    )
    error = math.sqrt(within + between)
    reach = math.sqrt(of_images**2 * within + of_sets**2 * between)
    freedom = float(stdtridf((1 + LEVEL) / 2, reach / error))
    return Uncertainty(error, images.bias, freedom)


def widening(deviations: npt.NDArray[np.float64], level: float = LEVEL) -> float:
    """How much wider intervals become to hold for several estimates at once, 1 or more.

    ``deviations`` (estimates, halves) are their values on the half-samples; what estimates have in
    common keeps the factor small. The quantile of the largest deviation, in standard errors,
    stands in for that of one (the single-step max-T method: P. H. Westfall and S. S. Young,
    Resampling-based multiple testing, 1993, section 2.3.2). Intervals that hold for all hold for
    whichever one is chosen, however it is chosen (R. Berk et al., Valid post-selection inference,
    Annals of Statistics 41, 2013).
    """
    centred = deviations - np.nanmean(deviations, axis=1, keepdims=True)
    spread = np.nanstd(centred, axis=1, keepdims=True)
    moving = spread[:, 0] > 0
    if moving.sum() < 2:
        return 1.0
    largest = np.nanmax(np.abs(centred[moving] / spread[moving]), axis=0)
    of_one = float(stdtrit(math.inf, (1 + level) / 2))
    return max(1.0, float(np.quantile(largest, level)) / of_one)


def bonferroni(count: int, freedom: float, level: float = LEVEL) -> float:
    """The same where nothing tells what ``count`` estimates have in common: C. E. Bonferroni, 1936.

    >>> round(bonferroni(24, 1e9), 2)
    1.57
    """
    of_one, of_all = (stdtrit(freedom, 1 - (1 - level) / 2 / n) for n in (1, max(count, 1)))
    return float(of_all / of_one)
