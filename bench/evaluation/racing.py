"""A race: may a candidate still be better than a leader, judged on a part of the images?

Both systems are judged on growing prefixes of one random order of the images. After each prefix (a
*look*) the candidate is dropped if it is proven to be no better than the leader by more than a
margin. What is proven is the difference on *all* images: that is what a race replaces, and what the
leader was chosen by. The prefix is then a sample without replacement from a finite population, and
nothing else is random:

- the standard error of the paired difference on the prefix comes from its half-samples
  (``bench.evaluation.interval``), times ``sqrt(1 - n / N)``, since n of the N images are known
  (W. G. Cochran, Sampling Techniques, 1977, section 2.6);
- a leader that only looks good on these images is as good as any: its value on them is what the
  candidate has to reach;
- whoever looks often errs often. The candidate that is best on all images is compared, at each
  look, with at most every other one. So ``ALPHA`` is divided by the numbers of looks and of
  candidates (Bonferroni): it is dropped wrongly in at most 5 % of all orders, whichever rows lead.

Races of models are due to O. Maron and A. W. Moore, Hoeffding races, Advances in Neural Information
Processing Systems 6, 1994. Their bounds assume no distribution, and need many more images.

Half-samples tell too little of the error of mAP where a class has few images. Below
``FEWEST_PER_CLASS`` the interval is widened by the root of the shortage, and below ``FEWEST_UNITS``
nothing is decided. ``tests/benchmarks/racing.py`` simulates how often an interval is wrong.

The 5 % hold where what two systems differ in is spread over the images. A difference in mAP that
comes from one or two percent of the images can be missed, as a prefix may have none of them: about
one order in three in a simulation of systems that hardly differ elsewhere (400 images, one class).
Systems without any difference on a prefix are not compared there. Top-1 has ``least_error`` against
it, a rule of three; for mAP such a rule would let no tie be dropped.

A search for something else, such as a precision plan, uses the same three steps: ``looks`` says how
much to judge next, ``seen`` what was seen, ``most_ahead`` how far the candidate may still be ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from bench.evaluation.interval import FEWEST_PER_CLASS, half_samples, over_images
from bench.evaluation.judgement import truth_of
from bench.evaluation.looks import Seen
from bench.evaluation.task import Score

ALPHA = 0.05
"""The chance that a race drops the best candidate wrongly."""

SHARES = (1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2)
"""Of the images: the prefixes after which a candidate may be dropped."""

FEWEST_UNITS = 20
"""Units of a prefix, below which nothing is decided."""


@dataclass(frozen=True)
class Prefixes:
    """The order of ``total`` units, and how many of them each look has seen.

    A unit is what is drawn: an image, or a batch of images that are computed together.
    """

    order: tuple[int, ...]
    looks: tuple[int, ...]

    @classmethod
    def of(cls, total: int, seed: int, shares: Sequence[float] = SHARES) -> Prefixes:
        """The same ``seed`` gives the same order. Too short prefixes are left out."""
        order = np.random.default_rng([seed, total]).permutation(total)
        counts = dict.fromkeys(round(share * total) for share in shares)
        looks = tuple(count for count in counts if FEWEST_UNITS <= count < total)
        return cls(tuple(order.tolist()), looks)

    @property
    def total(self) -> int:
        return len(self.order)

    def level(self, candidates: int) -> float:
        """The one-sided level of each look's interval in a race of so many candidates."""
        return 1 - ALPHA / (max(len(self.looks), 1) * max(candidates, 1))


def seen(score: Score, unit_of: npt.NDArray[np.int64]) -> Seen:
    """What ``score`` says of a prefix; ``unit_of`` (n_images,) is the unit of each of its images,
    counted from 0."""
    units = int(unit_of.max()) + 1
    halves = score.replicates_on(half_samples(units)[:, unit_of])
    return Seen(
        score.value,
        halves,
        units,
        score.images_per_class,
        score.least_error,
        truth_of(score.judged),
    )


def most_ahead(candidate: Seen, leader: Seen, total: int, level: float) -> float:
    """The upper end of the candidate's metric minus the leader's on all ``total`` units.

    One-sided, at ``level``. Infinite where nothing is known: the two saw other images, or differ on
    none of them, which does not tell how far they differ on the others.
    """
    if (candidate.units, candidate.truth) != (leader.units, leader.truth):
        return math.inf
    difference = candidate.value - leader.value
    known = over_images(
        difference, candidate.halves - leader.halves, candidate.units, candidate.least_error
    )
    if known.error == difference == 0:
        return math.inf
    per_class = FEWEST_PER_CLASS if candidate.per_class is None else candidate.per_class
    shortage = FEWEST_PER_CLASS / max(per_class, 1.0)
    unseen = math.sqrt(1 - candidate.units / total)
    error = known.error * unseen * math.sqrt(max(shortage, 1.0))
    reach = float(stdtrit(known.freedom, level)) * error
    high = difference + reach - min(known.bias, 0.0)
    return math.inf if math.isnan(high) else high
