"""The SQNR columns: what is wrong with one part of the outputs shows, whatever the others are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bench.model.heads.base import Head
from bench.model.heads.classifier import Classifier
from bench.model.heads.end_to_end import DetectionsHead, YoloV10Head
from bench.model.heads.yolov5 import YoloV5Head
from bench.model.heads.yolov8 import YoloV8Head
from bench.model.heads.yolox import YoloXHead
from bench.run.measure import decibels_of_parts

Outputs = list[np.ndarray]
Maker = Callable[[np.ndarray, np.ndarray], Outputs]
N, CLASSES = 84, 3  # cells of strides 8, 16, 32 in 64 x 64


def maps(boxes: np.ndarray, scores: np.ndarray) -> Outputs:
    whole = np.concatenate((boxes, scores), axis=1).T
    sides = [slice(0, 64), slice(64, 80), slice(80, 84)]
    return [
        whole[:, own].reshape(len(whole), int((own.stop - own.start) ** 0.5), -1) for own in sides
    ]


def beside(boxes: np.ndarray, scores: np.ndarray) -> Outputs:
    return [np.concatenate((boxes, scores), axis=1)]


def end_to_end(boxes: np.ndarray, scores: np.ndarray) -> Outputs:
    return [np.column_stack((boxes, scores[:, 0], np.arange(N) % CLASSES)).astype(np.float32)]


def four(boxes: np.ndarray, scores: np.ndarray) -> Outputs:
    return [np.array([N]), boxes, scores[:, 0], np.arange(N) % CLASSES]


DETECTORS: dict[str, tuple[Head, Maker, int]] = {
    "yolov8": (YoloV8Head(), lambda b, s: [np.concatenate((b, s), axis=1).T], CLASSES),
    "yolov5": (YoloV5Head(), beside, 1 + CLASSES),
    "yolox": (YoloXHead(), maps, 1 + CLASSES),
    "yolox, one output": (YoloXHead(), beside, 1 + CLASSES),
    "yolov10": (YoloV10Head(), end_to_end, 1),
    "detections": (DetectionsHead(), end_to_end, 1),
    "detections, four outputs": (DetectionsHead(), four, 1),
}


def truth(n_scores: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 640, (N, 4)).astype(np.float32)
    return boxes, rng.uniform(0.001, 1, (N, n_scores)).astype(np.float32) ** 4


def compared(kind: str, change: Callable[..., tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    head, make, n_scores = DETECTORS[kind]
    before, after = make(*truth(n_scores)), make(*change(*truth(n_scores)))
    return decibels_of_parts(
        head, [before, before], [before, after]
    )  # of two images, one has changed


@pytest.mark.parametrize("kind", DETECTORS)
def test_scores_that_are_lost_show(kind: str) -> None:
    found = compared(kind, lambda boxes, scores: (boxes, scores * 0))
    assert found["scores"] == pytest.approx(3.01, abs=0.01)
    assert found["boxes"] == math.inf


@pytest.mark.parametrize("kind", DETECTORS)
def test_boxes_alone_are_disturbed(kind: str) -> None:
    found = compared(kind, lambda boxes, scores: (boxes * np.float32(0.9), scores))
    assert found["boxes"] == pytest.approx(23.01, abs=0.01)
    assert found["scores"] == math.inf


@pytest.mark.parametrize("kind", DETECTORS)
def test_parts_are_views_of_all_boxes_and_scores(kind: str) -> None:
    head, make, n_scores = DETECTORS[kind]
    boxes, scores = truth(n_scores)
    outputs = make(boxes, scores)
    parts = head.parts(outputs)
    assert list(parts) == ["boxes", "scores"]
    for name, whole in (("boxes", boxes), ("scores", scores)):
        assert sum(part.size for part in parts[name]) == whole.size
        values = np.concatenate([part.reshape(-1) for part in parts[name]])
        np.testing.assert_array_equal(np.sort(values), np.sort(whole.reshape(-1)))
        for part in parts[name]:
            assert any(np.shares_memory(part, output) for output in outputs)


def test_one_map_of_several_cannot_hide() -> None:
    head, make, n_scores = DETECTORS["yolox"]
    before, after = make(*truth(n_scores)), make(*truth(n_scores))
    after[2][4:] = 0
    assert decibels_of_parts(head, [before], [after])["scores"] == pytest.approx(0)


def test_nothing_that_changes_is_infinite() -> None:
    found = compared("yolov8", lambda *parts: parts)
    assert set(found.values()) == {math.inf}


def test_a_classifier_has_its_logits() -> None:
    def images(factor: float) -> Sequence[Outputs]:
        return [[np.float32(factor) * np.arange(10, dtype=np.float32)] for _ in range(3)]

    assert decibels_of_parts(Classifier(), images(1), images(0.9)) == {
        "logits": pytest.approx(20, abs=1e-4)
    }


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_all_noise(broken: float) -> None:
    found = compared("yolov8", lambda boxes, scores: (boxes, scores * np.float32(broken)))
    assert found["scores"] == -math.inf
