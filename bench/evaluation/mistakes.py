"""Which images a system gets wrong, and which of its detections are wrong.

The pictures that a report shows are those on which INT8 makes most mistakes more than FP32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.data.dataset import IGNORED, BoxTarget
from bench.evaluation.matches import MatchTable
from bench.evaluation.operating_point import count
from bench.model.detections import Detections


def mistakes_at(matches: MatchTable, threshold: float) -> npt.NDArray[np.int64]:
    """(n_images,): objects missed and detections wrong at IoU 0.5, of scores from threshold on."""
    believed, right, to_find = count(matches, threshold).T
    mistakes: npt.NDArray[np.int64] = (believed - right) + (to_find - right)
    return mistakes


def verdicts_of(matches: MatchTable, image: int, detections: Detections) -> npt.NDArray[np.int8]:
    """(n,) for each detection of an image: 1 right at IoU 0.5, 0 wrong, -1 not counted.

    ``matches`` were made from ``detections``. Not counted are those that match a crowd, and
    those behind the hundred best of a class.
    """
    verdicts = np.full(len(detections.scores), -1, np.int8)
    for label in np.unique(detections.labels):
        span = slice(*matches.class_start[label : label + 2])
        rows = np.flatnonzero(matches.image[span] == image)
        hit, ignored = matches.hit[span][rows] & 1, matches.ignored[span][rows] & 1
        candidates = np.flatnonzero(detections.labels == label)
        # COCOeval's order within an image: by score, stable.
        order = np.argsort(-detections.finite_scores[candidates], kind="stable")
        ranked = candidates[order][: len(rows)]
        verdicts[ranked] = np.where(ignored, -1, hit)
    return verdicts


def to_find(target: BoxTarget) -> npt.NDArray[np.bool_]:
    """(n,): the objects that count when nobody finds them."""
    mask: npt.NDArray[np.bool_] = ~target.crowd & (target.areas != IGNORED)
    return mask


def missed(target: BoxTarget, right: Detections) -> npt.NDArray[np.int64]:
    """Indices of the objects that the ``right`` detections, best score first, leave.

    As COCO matches at IoU 0.5: each takes the object of its class that it overlaps most, of those
    that are left. Wrong detections take none.
    """
    left = set(np.flatnonzero(to_find(target)).tolist())
    for box, label in zip(right.boxes, right.labels, strict=True):
        same_class = [index for index in sorted(left) if target.labels[index] == label]
        if same_class:
            overlaps = _iou(box, target.boxes[same_class])
            if overlaps.max() >= 0.5:
                left.remove(same_class[int(overlaps.argmax())])
    return np.array(sorted(left), np.int64)


def _iou(box: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1, dtype=np.float64)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1, dtype=np.float64)
    whole = areas + np.prod(box[2:] - box[:2], dtype=np.float64) - shared
    overlaps = np.zeros(len(others), np.float64)
    np.divide(shared, whole, out=overlaps, where=whole > 0)
    return overlaps
