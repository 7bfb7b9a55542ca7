"""Non-maximum suppression: by class, by score, at most so many, and nothing but numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model.detections import Detections
from bench.model.heads.base import Candidates
from bench.model.heads.suppression import Suppression


def suppress(boxes: object, scores: object, **options: object) -> Detections:
    candidates = Candidates(np.array(boxes, np.float32), np.array(scores, np.float32))
    return Suppression(**({"score": 0.1, "iou": 0.5} | options))(candidates)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.clip(high - low, 0, None).prod()
    area = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared
    return float(shared / area)


def test_the_better_of_two_that_overlap():
    found = suppress([[0, 0, 10, 10], [0, 0, 10, 8]], [[0.6], [0.7]])
    np.testing.assert_array_equal(found.boxes, [[0, 0, 10, 8]])
    np.testing.assert_allclose(found.scores, [0.7])


@pytest.mark.parametrize(("iou", "left"), [(0.79, 1), (0.81, 2)])
def test_the_threshold_on_overlap(iou, left):
    """The two overlap by 0.8."""
    assert len(suppress([[0, 0, 10, 10], [0, 0, 10, 8]], [[0.6], [0.7]], iou=iou).scores) == left


def test_another_class_is_no_rival():
    found = suppress([[0, 0, 10, 10], [0, 0, 10, 10]], [[0.6, 0], [0, 0.7]])
    np.testing.assert_array_equal(found.labels, [1, 0])


def test_classes_stay_apart_left_of_the_image():
    """Moved right by one image per class, the second box would come to lie on the first."""
    found = suppress([[90, 90, 100, 100], [-11, -11, -1, -1]], [[0.9, 0], [0, 0.8]])
    np.testing.assert_array_equal(found.labels, [0, 1])
    np.testing.assert_array_equal(found.boxes, [[90, 90, 100, 100], [-11, -11, -1, -1]])


def test_one_box_with_several_labels():
    boxes, scores = [[0, 0, 10, 10]], [[0.3, 0.9, 0.05, 0.5]]
    several = suppress(boxes, scores)
    np.testing.assert_array_equal(several.labels, [1, 3, 0])
    np.testing.assert_allclose(several.scores, [0.9, 0.5, 0.3])
    only = suppress(boxes, scores, several_labels=False)
    np.testing.assert_array_equal(only.labels, [1])


def test_score_must_exceed_the_threshold():
    threshold = float(np.float32(0.3))
    for several in (True, False):
        boxes = [[0, 0, 1, 1], [5, 5, 6, 6]]
        found = suppress(boxes, [[0.3], [0.31]], score=threshold, several_labels=several)
        np.testing.assert_allclose(found.scores, [0.31])


def test_best_score_first_and_at_most_so_many():
    rng = np.random.default_rng(0)
    corner = np.arange(50)[:, None] * 20.0 * np.ones(2)
    scores = rng.permutation(np.linspace(0.2, 0.9, 50))[:, None]
    found = suppress(np.hstack([corner, corner + 10]), scores, most_detections=7)
    np.testing.assert_allclose(found.scores, np.sort(scores[:, 0])[::-1][:7], rtol=1e-6)
    rows = np.argsort(-scores[:, 0])[:7]
    np.testing.assert_array_equal(found.boxes[:, 0], corner[rows, 0])


def test_the_best_candidates_go_in():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9.9], [50, 50, 60, 60]]
    found = suppress(boxes, [[0.9], [0.8], [0.7]], most_candidates=2)
    np.testing.assert_allclose(found.scores, [0.9])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("several", [True, False])
def test_boxes_that_are_no_numbers_are_dropped(bad, several):
    boxes = [[0, 0, 10, bad], [0, 0, 10, 10], [bad, 0, 10, 10]]
    found = suppress(boxes, [[0.9], [0.5], [0.9]], several_labels=several)
    np.testing.assert_array_equal(found.boxes, [[0, 0, 10, 10]])


@pytest.mark.parametrize("several", [True, False])
def test_scores_that_are_no_numbers_are_dropped(several):
    found = suppress(
        [[0, 0, 10, 10], [20, 20, 30, 30]], [[np.nan, np.nan], [0.5, 0]], several_labels=several
    )
    np.testing.assert_allclose(found.scores, [0.5])


def test_nothing_in_nothing_out():
    assert len(suppress(np.empty((0, 4)), np.empty((0, 3))).scores) == 0
    assert len(suppress([[0, 0, 1, 1]], [[0.01]]).scores) == 0


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_survivors_do_not_overlap_and_the_suppressed_had_a_better_rival(seed, several):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, 60, (25, 2))
    boxes = np.hstack([corner, corner + rng.uniform(5, 40, (25, 2))]).astype(np.float32)
    scores = rng.random((25, 3)).astype(np.float32)
    found = suppress(boxes, scores, several_labels=several)
    assert (np.diff(found.scores) <= 0).all()
    for label in range(3):
        own = found.labels == label
        alive = found.boxes[own]
        for i, box in enumerate(alive):
            assert all(overlap(box, other) <= 0.5 + 1e-6 for other in alive[i + 1 :])
        for box, row in zip(boxes, scores, strict=True):
            enters = row[label] > 0.1 and (several or row.argmax() == label)
            if enters and not (alive == box).all(1).any():
                rivals = zip(alive, found.scores[own], strict=True)
                assert any(overlap(b, box) > 0.5 - 1e-6 and s >= row[label] for b, s in rivals)
