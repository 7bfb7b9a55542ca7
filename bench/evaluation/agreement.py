"""Without labels: how far a model agrees with the predictions of its FP32 version.

FP32 then reaches 1, or nearly so, and the metric is called "agreement": it shows what quantization
changed, not whether the predictions were right before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.data.dataset import BoxTarget
from bench.errors import DataError
from bench.evaluation.task import Array, ClassificationTask, DetectionTask
from bench.model.detections import Detections
from bench.model.heads.base import ClassifierHead, DetectionHead


def detection_agreement(
    head: DetectionHead, reference: Sequence[Detections], n_classes: int, score: float
) -> DetectionTask:
    """The ``reference``'s detections above ``score`` are the truth; before it is known, none are.

    Raises DataError if none reaches the score: there would be nothing to agree on.
    """
    targets = [_target(detections, score) for detections in reference]
    if targets and not any(len(target.labels) for target in targets):
        raise DataError(
            f"the FP32 model detects nothing above score {score} in {len(targets)} images",
            "Lower evaluation.agreement_score, or check model.preprocess",
        )
    task = DetectionTask(head, targets, n_classes)
    return replace(task, metric=_named(task.metric), secondary_metric=_named(task.secondary_metric))


def classification_agreement(
    head: ClassifierHead, reference: Sequence[Array]
) -> ClassificationTask:
    """The ``reference``'s first guesses are the truth."""
    labels = np.array([logits.argmax() for logits in reference], np.int64)
    task = ClassificationTask(head, labels)
    return replace(task, metric=_named(task.metric), secondary_metric=_named(task.secondary_metric))


def _named(metric: str) -> str:
    return f"agreement {metric}"


def _target(detections: Detections, score: float) -> BoxTarget:
    sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
    # A box that was clipped to nothing at the picture's edge cannot be detected.
    counted = (detections.scores > score) & (sides > 0).all(axis=1)
    return BoxTarget(
        detections.boxes[counted],
        detections.labels[counted],
        sides[counted].prod(axis=1),
        np.zeros(int(counted.sum()), np.bool_),
    )
