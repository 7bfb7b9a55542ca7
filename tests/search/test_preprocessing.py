"""How preprocessings are told apart without labels."""

from __future__ import annotations

import numpy as np
import pytest

from bench.model.detections import Detections
from bench.search.preprocessing import consistency, information


def found(*boxes, score=0.9, label=1):
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, score, np.float32),
        np.full(count, label, np.int64),
    )


def test_information_wants_sure_and_different_answers():
    every = np.ones((1, 4), np.int32)
    sure = information(np.eye(4), every)[0]
    collapsed = information(np.tile([1.0, 0, 0, 0], (4, 1)), every)[0]
    unsure = information(np.full((4, 4), 0.25), every)[0]
    assert sure == pytest.approx(np.log(4)) and collapsed == pytest.approx(0)
    assert unsure == pytest.approx(0)
    half = np.array([[1, 1, 0, 0]], np.int32)
    assert information(np.eye(4), half)[0] == pytest.approx(np.log(2))


def test_a_mirrored_box_is_the_same():
    here, there = found((0, 0, 20, 10)), found((80, 0, 100, 10))
    assert consistency(here, there, 100) == pytest.approx(0.9 / 2)
    assert consistency(here, here, 100) == 0
    assert consistency(here, found((80, 0, 100, 10), label=2), 100) == 0


def test_many_boxes_that_differ_count_for_little():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 90, (2, 60, 2))
    one, other = (found(*np.hstack([own, own + 3])) for own in corners)
    assert consistency(one, other, 100) < 0.1
    assert consistency(found(), found(), 100) == 0
    assert consistency(found((0, 0, 9, 9), score=0.2), found((91, 0, 100, 9)), 100) == 0
