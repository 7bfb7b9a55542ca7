"""Which detection matched which object: enough for the mAP of any resample of the images.

COCO matches detections to ground truth within one image, so drawing images again (the bootstrap)
changes how often a match counts, never the match itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

N_IOU = 10
"""IoU thresholds 0.50, 0.55, ..., 0.95, in this order wherever an axis or a bit stands for one."""
RECALLS: npt.NDArray[np.float64] = np.linspace(0.0, 1.0, 101, dtype=np.float64)
"""The recalls at which COCO reads precision."""


@dataclass(frozen=True, eq=False)
class MatchTable:
    """What every detection matched (all sizes, at most 100 detections per image and class).

    Detections stand in COCO's order: by class, then best score first, ties by image and then as
    given. Class c owns positions ``class_start[c]`` to ``class_start[c + 1]``. The arrays are made
    read-only.

    ``image`` (n,) int32, which image; ``score`` (n,) float32; ``hit`` (n,) uint16, bit t is set
    when the detection is a true positive at IoU threshold t; ``ignored`` (n,) uint16, bit t is set
    when it counts neither way at threshold t (it matched a crowd); ``class_start``
    (n_classes + 1,) int64; ``positives`` (n_images, n_classes) int32, ground-truth boxes to find
    (without crowds).
    """

    image: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    hit: npt.NDArray[np.uint16]
    ignored: npt.NDArray[np.uint16]
    class_start: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        for array in self._arrays().values():
            array.flags.writeable = False

    @property
    def n_images(self) -> int:
        return int(self.positives.shape[0])

    @cached_property
    def tied(self) -> npt.NDArray[np.bool_]:
        """(n,) bool: same class, image and score as the detection before.

        Only for these does it matter how copies of an image interleave: with A and B tied in an
        image that stands twice, COCO's stable sort yields A B A B, not A A B B.
        """
        tied = np.zeros(len(self.image), dtype=np.bool_)
        tied[1:] = (self.image[1:] == self.image[:-1]) & (self.score[1:] == self.score[:-1])
        tied[self.class_start[self.class_start < len(tied)]] = False
        return tied

    def map(
        self, weights: npt.NDArray[np.integer[Any]] | None = None, iou: slice = slice(None)
    ) -> float:
        """Mean average precision when image i stands ``weights[i]`` times, in [0, 1].

        ``weights`` (n_images,) non-negative integers, None for once each; ``iou`` selects among
        the ten thresholds: ``slice(None)`` for mAP50-95, ``slice(1)`` for mAP50. It is what
        COCOeval says about a set with the copies of an image side by side, and nan where no image
        of positive weight has a box to find. This is the readable statement of the computation;
        ``bootstrap.map_replicates`` is the fast one. Raises ValueError for weights that do not
        fit.
        """
        if weights is None:
            weights = np.ones(self.n_images, dtype=np.int64)
        if weights.shape != (self.n_images,) or (weights < 0).any():
            raise ValueError(f"weights must be {self.n_images} non-negative integers")
        positives = weights.astype(np.int64) @ self.positives
        precisions = []
        for label in np.flatnonzero(positives):
            order = self._copies(int(label), weights)
            hit, ignored = self.hit[order], self.ignored[order]
            for threshold in range(N_IOU)[iou]:
                counted = (ignored >> threshold & 1) == 0
                hits = (hit >> threshold & 1)[counted]
                precisions.append(_average_precision(hits, int(positives[label])))
        return float(np.mean(precisions)) if precisions else float("nan")

    def _copies(self, label: int, weights: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """Positions of a class's detections, in order, each as often as its image stands."""
        rows = np.arange(self.class_start[label], self.class_start[label + 1])
        times = weights[self.image[rows]]
        positions = np.repeat(rows, times)
        copy = np.arange(len(positions)) - np.repeat(np.cumsum(times) - times, times)
        group = np.cumsum(~self.tied)[positions]
        ordered: npt.NDArray[np.int64] = positions[np.lexsort((positions, copy, group))]
        return ordered

    def _arrays(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _average_precision(hits: npt.NDArray[np.integer[Any]], positives: int) -> float:
    """Precision averaged over ``RECALLS``; ``hits`` is 1 for a true positive, best score first."""
    true = np.cumsum(hits).astype(np.float64)
    precision = true / (np.arange(1, len(true) + 1) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(true / positives, RECALLS, side="left")
    reached = first[first < len(true)]  # precision is 0 at recalls that are never reached
    return float(envelope[reached].sum()) / len(RECALLS)
