"""The FP32 metric that a model's authors publish, and whether the measured one matches it.

A large difference mostly means wrong preprocessing, a wrong head, or other weights: every INT8 row
would then be compared with a broken baseline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.errors import ConfigError

TOLERANCE = 0.03
"""Letterboxing, suppression and resizing differ a little from one evaluator to the next."""

_Z = 1.96


@dataclass(frozen=True)
class Published:
    """What the page ``source`` says: ``value`` in [0, 1] on the ``images`` of ``dataset``.

    ``dataset`` names the very images ("COCO val2017"); ``classes`` tells it from other data in the
    same format. A metric is comparable only with one of the same name.
    """

    dataset: str
    classes: int
    metric: str
    value: float
    images: int
    source: str

    def __post_init__(self) -> None:
        if not 0 < self.value < 1 or self.images < 2:
            raise ConfigError(
                f"published value {self.value} on {self.images} images is not possible",
                "Give a fraction between 0 and 1, and at least 2 images",
            )

    def applies(self, metric: str, classes: int) -> bool:
        return (self.metric, self.classes) == (metric, classes)

    def margin(self, n_images: int) -> float:
        """How far a sound baseline on ``n_images`` of the images may be from the published value.

        Three points, and for a part of the images a binomial 95 % margin with the correction for
        drawing without replacement, sqrt(p (1 - p) / n (N - n) / (N - 1)): 0 for all of them. It is
        exact for Top-1 and rough for mAP, whose small samples scatter about as widely.

        >>> Published("COCO val2017", 80, "mAP50-95", 0.373, 5000, "").margin(85)  # about 0.13
        """
        drawn = min(n_images, self.images)
        share = (self.images - drawn) / (self.images - 1)
        return TOLERANCE + _Z * math.sqrt(self.value * (1 - self.value) / drawn * share)

    def doubt(self, measured: float, n_images: int) -> str:
        """Why the measured FP32 value cannot be trusted; empty if it can."""
        if math.isfinite(measured) and abs(measured - self.value) <= self.margin(n_images):
            return ""
        return (
            f"FP32 {self.metric} is {measured:.3f} on {n_images} images, but {self.value:.3f} is "
            f"published for the {self.images} of {self.dataset} ({self.source}); a difference of "
            f"more than {self.margin(n_images):.3f} is not chance: check the preprocessing, the "
            "head, the weights and the images"
        )
