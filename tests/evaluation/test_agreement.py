"""What FP32 predicts stands in for labels."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import DataError
from bench.evaluation.agreement import classification_agreement, detection_agreement
from bench.model.detections import Detections
from bench.model.heads.classifier import Classifier
from bench.model.heads.yolov8 import YoloV8Head


def found(*boxes: tuple[float, ...], scores: list[float]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.zeros(len(boxes), np.int64),
    )


NEAR, FAR, FLAT = (0.0, 0.0, 8.0, 8.0), (20.0, 20.0, 40.0, 30.0), (0.0, 5.0, 0.0, 9.0)
REFERENCE = [found(NEAR, FLAT, FAR, scores=[0.9, 0.3, 0.2]), found(FAR, scores=[0.7])]


def test_a_detector_agrees_with_itself_and_loses_by_what_it_does_not_find():
    task = detection_agreement(YoloV8Head(), REFERENCE, 1, 0.25)
    assert (task.metric, task.secondary_metric) == ("agreement mAP50-95", "agreement mAP50")
    assert [len(target.labels) for target in task.targets] == [1, 1]  # above the score, not flat
    assert task.score(REFERENCE).value == pytest.approx(1)
    assert task.score([REFERENCE[0], found(scores=[])]).value < 0.6


def test_the_score_decides_what_is_to_be_found():
    task = detection_agreement(YoloV8Head(), REFERENCE, 1, 0.1)
    assert [len(target.labels) for target in task.targets] == [2, 1]


def test_nothing_found_is_nothing_to_agree_on():
    with pytest.raises(DataError, match=r"above score 0\.95 in 2 images\. Lower evaluation"):
        detection_agreement(YoloV8Head(), REFERENCE, 1, 0.95)
    assert not detection_agreement(YoloV8Head(), (), 1, 0.95).targets  # not known yet


def test_a_classifier_agrees_with_its_first_guesses():
    reference = [np.float32([1, 3, 2]), np.float32([5, 0, 0])]
    task = classification_agreement(Classifier(), reference)
    assert (task.metric, task.secondary_metric) == ("agreement Top-1", "agreement Top-5")
    assert task.score(reference).value == 1
    assert task.score([reference[0], np.float32([0, 0, 1])]).value == 0.5
