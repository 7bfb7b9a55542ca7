"""Made-up populations of judged images, large enough to tell what is true of a system.

A population is what the validation images were drawn from. One latent difficulty per image makes
its objects hard for every system. Quantization adds jitter of its own to each detection, and a loss
that differs from image to image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bench.evaluation.bootstrap import map_replicates, mean_replicates
from bench.evaluation.estimate import Replicates, Weights
from bench.evaluation.interval import rule_of_three
from bench.evaluation.judgement import Judgement
from bench.evaluation.matches import N_IOU, MatchTable

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FAINTEST = -2.0
"""The logit below which a detector reports nothing."""


class Population(Protocol):
    """All images, FP32 and some INT8 systems, judged; ``truths`` (systems,) are INT8 minus FP32."""

    n_images: int
    fp32: float
    truths: Floats

    def judged(self, system: int, images: Integers) -> Judgement:
        """One system on some images; system 0 is FP32, others follow in the order of ``truths``."""
        ...


@dataclass(frozen=True, eq=False)
class _Detections:
    """One detector's on all images: ``hits`` are the IoU thresholds that each one matches at."""

    image: Integers
    label: Integers
    score: npt.NDArray[np.float32]
    hits: npt.NDArray[np.uint16]


class Scenes:
    """Images with objects of ``n_classes``; class k is drawn with a weight of 1 / k**rarity.

    ``shifts`` are one per INT8 system: by how much it lowers the logits of an average image, which
    costs mAP. ``seed`` decides all.
    """

    def __init__(
        self,
        n_images: int,
        n_classes: int,
        shifts: Sequence[float],
        rarity: float = 0.0,
        jitter: float = 0.15,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.n_images, self.n_classes = n_images, n_classes
        share = 1 / np.arange(1, n_classes + 1) ** rarity
        share /= share.sum()
        difficulty = rng.normal(size=n_images)
        subject = rng.choice(n_classes, n_images, p=share)  # most objects of an image are alike

        def labels(image: Integers) -> Integers:
            other = rng.choice(n_classes, image.size, p=share)
            return np.where(rng.random(image.size) < 0.5, subject[image], other)

        self._image = np.repeat(np.arange(n_images), 1 + rng.poisson(3, n_images))
        self._label = labels(self._image)
        hard = difficulty[self._image]
        self._logit = 1.2 - 0.8 * hard + rng.normal(size=hard.size)
        self._overlap = 1.0 - 0.5 * hard + rng.normal(size=hard.size)
        self._false_image = np.repeat(np.arange(n_images), rng.poisson(4, n_images))
        self._false_label = labels(self._false_image)
        noise = rng.normal(size=self._false_image.size)
        self._false_logit = 0.5 * difficulty[self._false_image] - 1.5 + noise
        self._positives = np.zeros((n_images, n_classes), dtype=np.int32)
        np.add.at(self._positives, (self._image, self._label), 1)
        self._systems = [
            self._detect(0.0, 0.0, rng),
            *(self._detect(jitter, shift, rng) for shift in shifts),
        ]
        everything, once = np.arange(n_images), np.ones((1, n_images), dtype=np.int32)
        values = [
            float(map_replicates(self.judged(system, everything), once)[0])
            for system in range(len(self._systems))
        ]
        self.fp32, self.truths = values[0], np.array(values[1:]) - values[0]

    def judged(self, system: int, images: Integers) -> MatchTable:
        found = self._systems[system]
        place = np.full(self.n_images, -1)
        place[images] = np.arange(len(images))
        own = place[found.image] >= 0
        image, label, score = place[found.image[own]], found.label[own], found.score[own]
        order = np.lexsort((image, -score, label))
        return MatchTable(
            image[order].astype(np.int32),
            score[order],
            found.hits[own][order],
            np.zeros(order.size, dtype=np.uint16),
            np.searchsorted(label[order], np.arange(self.n_classes + 1)).astype(np.int64),
            self._positives[images],
        )

    def _detect(self, jitter: float, shift: float, rng: np.random.Generator) -> _Detections:
        worse = (shift * np.exp(0.5 * rng.normal(size=self.n_images)))[self._image]

        def moved(logits: Floats) -> Floats:
            return logits + jitter * rng.normal(size=logits.size)

        logit, overlap = moved(self._logit - worse), moved(self._overlap - worse)
        met = np.rint(N_IOU / (1 + np.exp(-overlap))).astype(np.int64)
        seen = logit > FAINTEST
        false = moved(self._false_logit)
        return _Detections(
            np.concatenate([self._image[seen], self._false_image]),
            np.concatenate([self._label[seen], self._false_label]),
            (1 / (1 + np.exp(-np.concatenate([logit[seen], false])))).astype(np.float32),
            np.concatenate([(1 << met[seen]) - 1, np.zeros(false.size)]).astype(np.uint16),
        )


class Pictures:
    """Images to classify: right where the logit of the true class leads, by a margin above 0.

    ``shifts`` are one per INT8 system, off the margin of an average image; ``jitter`` moves margins
    both ways, so that images change sides without any loss. ``seed`` decides all.
    """

    def __init__(
        self, n_images: int, shifts: Sequence[float], jitter: float = 0.15, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.n_images = n_images
        margin = 0.7 + rng.normal(size=n_images)
        self.correct = np.array(
            [margin > 0]
            + [
                margin
                - shift * np.exp(0.5 * rng.normal(size=n_images))
                + jitter * rng.normal(size=n_images)
                > 0
                for shift in shifts
            ]
        )
        values = self.correct.mean(axis=1)
        self.fp32, self.truths = float(values[0]), values[1:] - values[0]

    def judged(self, system: int, images: Integers) -> npt.NDArray[np.bool_]:
        right: npt.NDArray[np.bool_] = self.correct[system, images]
        return right


def failing(judged: Judgement, images: npt.NDArray[np.bool_]) -> Judgement:
    """The same system, if it finds nothing (Top-1: nothing right) on the marked images."""
    if not isinstance(judged, MatchTable):
        return judged & ~images
    stays = ~images[judged.image]
    before = np.concatenate([[0], np.cumsum(stays)])
    return MatchTable(
        judged.image[stays],
        judged.score[stays],
        judged.hit[stays],
        judged.ignored[stays],
        before[judged.class_start],
        judged.positives,
    )


def replicates(judged: Judgement, weights: Weights) -> Replicates:
    """The headline metric on each draw: mAP, or Top-1."""
    if isinstance(judged, MatchTable):
        return map_replicates(judged, weights)
    return mean_replicates(judged, weights)


def least_error(judged: Judgement) -> float:
    """That of ``Score``."""
    return 0.0 if isinstance(judged, MatchTable) else rule_of_three(len(judged))


def images_per_class(judged: Judgement) -> float | None:
    """That of ``Score``."""
    if not isinstance(judged, MatchTable):
        return None
    images = (judged.positives > 0).sum(axis=0)
    return float(images[images > 0].mean())
