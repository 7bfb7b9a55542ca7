"""From candidate boxes to detections: score threshold, labels, non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bench.model.detections import Detections
from bench.model.heads.base import Candidates, no_detections


@dataclass(frozen=True)
class Suppression:
    """Class-aware non-maximum suppression (OpenCV's ``NMSBoxesBatched``).

    ``several_labels`` lets one box carry every class above ``score``, as Ultralytics' validator
    does; otherwise only its best class counts, as YOLOX's does. At most ``most_candidates``
    of the best scored go in and ``most_detections`` come out.
    """

    score: float = 0.001
    iou: float = 0.7
    several_labels: bool = True
    most_detections: int = 300
    most_candidates: int = 30_000

    def __call__(self, candidates: Candidates) -> Detections:
        if self.several_labels:
            rows, labels = np.nonzero(candidates.scores > self.score)
            scores = candidates.scores[rows, labels]
        else:
            labels = candidates.scores.argmax(1)
            scores = candidates.scores[np.arange(len(labels)), labels]
            (rows,) = np.nonzero(scores > self.score)
            labels, scores = labels[rows], scores[rows]
        # NaN never passes the threshold; an infinite box is no box.
        finite = np.isfinite(candidates.boxes[rows]).all(1)
        rows, labels, scores = rows[finite], labels[finite], scores[finite]
        if not len(rows):
            return no_detections()
        best = np.argsort(-scores, kind="stable")[: self.most_candidates]
        rows, labels, scores = rows[best], labels[best], scores[best]
        boxes = candidates.boxes[rows].astype(np.float64)
        # OpenCV keeps the classes apart by shifting them past the largest coordinate, from 0 on.
        origin = boxes[:, :2] - min(boxes.min(), 0.0)
        corners = np.concatenate([origin, boxes[:, 2:] - boxes[:, :2]], axis=1)
        found = cv2.dnn.NMSBoxesBatched(
            corners.tolist(), scores.tolist(), labels.tolist(), self.score, self.iou
        )
        alive = np.asarray(found, np.int64).reshape(-1)
        kept = alive[np.argsort(-scores[alive], kind="stable")][: self.most_detections]
        return Detections(
            boxes[kept].astype(np.float32),
            scores[kept].astype(np.float32),
            labels[kept].astype(np.int64),
        )
