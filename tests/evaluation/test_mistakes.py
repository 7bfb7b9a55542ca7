"""Which detections of an image are right, and which objects none of them found."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.dataset import IGNORED, BoxTarget
from bench.evaluation.coco_map import evaluate_boxes
from bench.evaluation.mistakes import missed, mistakes_at, verdicts_of
from bench.evaluation.operating_point import count
from bench.model.detections import Detections


@pytest.mark.parametrize("seed", range(6))
def test_each_detection_gets_the_verdict_that_was_counted(scene, seed):
    targets, found = scene(seed)
    table = evaluate_boxes(targets, found, 4).matches
    for threshold in (0.0, 0.5):
        counts = count(table, threshold)
        for image, own in enumerate(found):
            verdicts = verdicts_of(table, image, own)
            believed, to_find = own.scores >= threshold, counts[image, 2]
            right, wrong = believed & (verdicts == 1), believed & (verdicts == 0)
            assert [right.sum() + wrong.sum(), right.sum()] == counts[image, :2].tolist()
            assert mistakes_at(table, threshold)[image] == wrong.sum() + to_find - right.sum()
            finders = Detections(own.boxes[right], own.scores[right], own.labels[right])
            assert len(missed(targets[image], finders)) == to_find - right.sum()


def test_the_hundred_best_of_a_class_are_judged():
    targets = [boxes([[0, 0, 10, 10]])]
    scores = np.linspace(0.9, 0.1, 120, dtype=np.float32)
    many = Detections(np.tile(np.float32([0, 0, 10, 10]), (120, 1)), scores, np.zeros(120, int))
    verdicts = verdicts_of(evaluate_boxes(targets, [many], 1).matches, 0, many)
    assert verdicts.tolist() == [1] + [0] * 99 + [-1] * 20


def boxes(corners, labels=None, areas=None, crowd=None) -> BoxTarget:
    array = np.array(corners, np.float32).reshape(-1, 4)
    n = len(array)
    return BoxTarget(
        array,
        np.array([0] * n if labels is None else labels, np.int64),
        np.array([100] * n if areas is None else areas, np.float32),
        np.array([False] * n if crowd is None else crowd, np.bool_),
    )


def test_an_object_is_missed_unless_a_detection_of_its_class_covers_it():
    target = boxes(
        [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10], [80, 0, 90, 10]],
        labels=[0, 0, 1, 0, 0], crowd=[False, False, False, True, False],
        areas=[100, 100, 100, 100, IGNORED],
    )  # fmt: skip
    right = Detections(
        np.float32([[1, 0, 10, 10], [40, 0, 50, 10]]), np.float32([0.9, 0.8]), np.array([0, 0])
    )
    assert missed(target, right).tolist() == [1, 2]  # nobody has to find the last two


def test_one_detection_finds_one_object():
    target = boxes([[0, 0, 10, 10], [0, 0, 10, 10]])
    one = Detections(np.float32([[0, 0, 10, 10]]), np.float32([0.9]), np.array([0]))
    assert missed(target, one).tolist() == [1]
