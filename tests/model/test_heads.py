"""Heads: known boxes out of hand-made tensors, and outputs that cannot be the head's refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.errors import ModelError
from bench.model.heads.base import Candidates, grid, no_detections, shown
from bench.model.heads.classifier import Classifier
from bench.model.heads.end_to_end import DetectionsHead, YoloV10Head
from bench.model.heads.suppression import Suppression
from bench.model.heads.yolov5 import YoloV5Head
from bench.model.heads.yolov8 import YoloV8Head, corners
from bench.model.heads.yolox import YoloXHead

SIZE = (64, 96)  # height, width: 8x12 + 4x6 + 2x3 cells
CELLS = 96 + 24 + 6


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


# --- YOLOv8 ---------------------------------------------------------------------------------------


def test_yolov8_boxes_are_centres_and_sizes():
    output = np.zeros((4 + 3, CELLS), np.float32)
    output[:, 5] = [20, 30, 8, 12, 0.1, 0.9, 0.0]
    output[:, 100] = [60, 40, 20, 10, 0.0, 0.0, 0.6]
    found = YoloV8Head(Suppression(score=0.25)).decode([output])
    np.testing.assert_array_equal(found.boxes, [[16, 24, 24, 36], [50, 35, 70, 45]])
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    np.testing.assert_array_equal(found.labels, [1, 2])
    assert (found.boxes.dtype, found.scores.dtype) == (np.float32, np.float32)
    assert found.labels.dtype == np.int64


@pytest.mark.parametrize("several", [True, False])
def test_yolov8_skips_no_box_that_could_pass(several):
    """The shortcut over the classes gives, to the bit, what all boxes give."""
    rng = np.random.default_rng(0)
    output = rng.uniform(0, 60, (4 + 3, CELLS)).astype(np.float32)
    output[4:] = rng.uniform(0, 1, (3, CELLS)) ** 40
    output[4, ::7], output[5, ::9], output[0, ::11] = np.nan, np.inf, np.inf
    suppression = Suppression(score=0.01, several_labels=several)
    found = YoloV8Head(suppression).decode([output])
    expected = suppression(Candidates(corners(output[:4].T), output[4:].T))
    assert 0 < len(found.scores) < CELLS
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_yolov8_without_detections():
    found = YoloV8Head().decode([np.zeros((4 + 3, CELLS), np.float32)])
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)


# --- YOLOv5 ---------------------------------------------------------------------------------------


def test_yolov5_score_is_objectness_times_class():
    output = np.zeros((3 * CELLS, 5 + 2), np.float32)
    output[7] = [20, 30, 8, 12, 0.5, 0.2, 0.8]
    output[300] = [60, 40, 20, 10, 0.0, 1.0, 1.0]  # no object here, whatever the classes say
    found = YoloV5Head(Suppression(score=0.25)).decode([output])
    np.testing.assert_array_equal(found.boxes, [[16, 24, 24, 36]])
    np.testing.assert_allclose(found.scores, [0.4])
    np.testing.assert_array_equal(found.labels, [1])


def test_yolov5_skips_no_cell_that_could_pass():
    """The shortcut over objectness must not change what plain multiplication gives."""
    rng = np.random.default_rng(0)
    output = rng.random((3 * CELLS, 7)).astype(np.float32)
    output[:, :2] *= 64
    output[:, 2:4] *= 20
    output[:, 4] = rng.choice([0.0, 0.1, 0.3, 0.31, 0.9], len(output))
    head = YoloV5Head(Suppression(score=0.3, iou=0.99, most_detections=10_000))
    wanted = (output[:, 4:5] * output[:, 5:])[output[:, 4:5] * output[:, 5:] > 0.3]
    np.testing.assert_allclose(head.decode([output]).scores, np.sort(wanted)[::-1], rtol=1e-6)


# --- YOLOX ----------------------------------------------------------------------------------------


def yolox_maps(n_classes: int = 2) -> list[np.ndarray]:
    return [
        np.full((5 + n_classes, rows, columns), -20, np.float32)
        for rows, columns, _ in grid(SIZE, (8, 16, 32))
    ]


def test_yolox_adds_grid_and_stride():
    maps = yolox_maps()
    # Stride 16, row 1, column 2: centre ((0.5 + 2) 16, (0.25 + 1) 16), size (2 x 16, 1 x 16).
    maps[1][:, 1, 2] = [0.5, 0.25, np.log(2), 0, logit(0.5), logit(0.2), logit(0.8)]
    found = YoloXHead(Suppression(score=0.1, several_labels=False)).decode(maps)
    np.testing.assert_allclose(found.boxes, [[40 - 16, 20 - 8, 40 + 16, 20 + 8]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.4], rtol=1e-5)
    np.testing.assert_array_equal(found.labels, [1])


@pytest.mark.parametrize(("level", "stride"), [(0, 8), (1, 16), (2, 32)])
def test_yolox_strides(level, stride):
    maps = yolox_maps()
    maps[level][:, 0, 1] = [0, 0, 0, 0, 5, 5, -5]
    (box,) = YoloXHead().decode(maps).boxes[:1]
    np.testing.assert_allclose(box, [stride / 2, -stride / 2, 1.5 * stride, stride / 2], atol=1e-4)


def test_yolox_takes_the_best_class_only():
    maps = yolox_maps()
    maps[0][:, 0, 0] = [0, 0, 1, 1, 5, 3, 4]
    assert YoloXHead().decode(maps).labels[:1].tolist() == [1]
    strong = YoloXHead().decode(maps).scores > 0.5
    assert strong.sum() == 1


def test_yolox_survives_values_that_overflow():
    """INT8 gone wrong may give anything; exp must not turn it into infinity or a warning."""
    maps = yolox_maps()
    maps[0][:, 0, 0] = [0, 0, 500, 500, 500, 500, -500]
    maps[0][:, 1, 1] = np.nan
    with np.errstate(over="raise"):
        found = YoloXHead().decode(maps)
    assert np.isfinite(found.boxes).all()
    np.testing.assert_allclose(found.scores[0], 1)


def test_yolox_in_one_output_is_yolox_in_three():
    """Megvii's export squashes the scores and puts the strides in a row: the same boxes."""
    rng = np.random.default_rng(0)
    side = 64
    maps = [
        rng.normal(0, 1, (7, rows, columns)).astype(np.float32)
        for rows, columns, _ in grid((side, side), (8, 16, 32))
    ]
    rows = np.concatenate([m.reshape(7, -1) for m in maps], axis=1).T
    rows[:, 4:] = 1 / (1 + np.exp(-rows[:, 4:]))
    three, one = YoloXHead().decode(maps), YoloXHead().decode([rows])
    YoloXHead().check([(1, *rows.shape)], (side, side), 2)
    assert len(three.scores) > 20
    np.testing.assert_allclose(one.boxes, three.boxes, rtol=1e-5)
    np.testing.assert_allclose(one.scores, three.scores, rtol=1e-5)
    np.testing.assert_array_equal(one.labels, three.labels)


def test_yolox_in_one_output_needs_a_square_input():
    with pytest.raises(ModelError, match="1x7x8x12, 1x7x4x6, 1x7x2x3"):
        YoloXHead().check([(1, CELLS, 7)], SIZE, 2)


# --- end to end -----------------------------------------------------------------------------------

ROWS = np.array(
    [
        [16, 24, 24, 36, 0.4, 1],
        [50, 35, 70, 45, 0.9, 2],
        [50, 35, 70, 45, 0.8, 2],  # the same box again: nothing is suppressed
        [1, 2, 3, 4, 0.0005, 0],
        [np.inf, 2, 3, 4, 0.7, 0],
        [1, 2, 3, 4, np.nan, 0],
        [0, 0, 0, 0, 0, 0],  # padding
    ],
    np.float32,
)


@pytest.mark.parametrize("head", [YoloV10Head(), DetectionsHead()])
def test_rows_are_final_boxes_best_first(head):
    found = head.decode([ROWS])
    np.testing.assert_array_equal(found.boxes, ROWS[[1, 2, 0], :4])
    np.testing.assert_array_equal(found.scores, ROWS[[1, 2, 0], 4])
    np.testing.assert_array_equal(found.labels, [2, 2, 1])
    assert (found.boxes.dtype, found.labels.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("head", [YoloV10Head(score=0.5), DetectionsHead(score=0.5)])
def test_only_the_score_threshold_decides(head):
    assert head.decode([ROWS]).scores.tolist() == pytest.approx([0.9, 0.8])
    empty = head.decode([np.zeros((300, 6), np.float32)])
    assert (empty.boxes.shape, empty.scores.shape, empty.labels.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize(("count", "labels"), [(2, [2, 1]), (0, []), (3, [2, 2, 1]), (-1, [])])
def test_four_outputs_hold_as_many_boxes_as_they_say(kind, count, labels):
    outputs = [np.array([count], kind), ROWS[:, :4], ROWS[:, 4], ROWS[:, 5].astype(kind)]
    found = DetectionsHead().decode(outputs)
    assert found.labels.tolist() == labels
    assert (np.diff(found.scores) <= 0).all()


def test_detections_are_told_apart_by_their_shapes():
    four = [(1, 1), (1, 100, 4), (1, 100), (1, 100)]
    DetectionsHead().check([(1, 100, 6)], SIZE, 10)
    DetectionsHead().check(four, SIZE, 10)
    for wrong in (four[:3], [*four[:3], (1, 99)], four[::-1]):
        with pytest.raises(ModelError, match="head detections"):
            DetectionsHead().check(wrong, SIZE, 10)
    with pytest.raises(ModelError, match="head yolov10, which needs one output 1xBOXESx6"):
        YoloV10Head().check(four, SIZE, 10)


@pytest.mark.parametrize("head", [YoloV10Head(), DetectionsHead()])
def test_a_yolov5_of_one_class_is_not_taken_for_final_boxes(head):
    with pytest.raises(ModelError, match=f"1x{3 * CELLS}x6"):
        head.check([(1, 3 * CELLS, 6)], SIZE, 1)


# --- the shapes that fit --------------------------------------------------------------------------

RIGHT: dict[str, tuple[Any, Any]] = {
    "yolov8": (YoloV8Head(), [(1, 4 + 10, CELLS)]),
    "yolov5": (YoloV5Head(), [(1, 3 * CELLS, 5 + 10)]),
    "yolox": (YoloXHead(), [(1, 15, 8, 12), (1, 15, 4, 6), (1, 15, 2, 3)]),
    "classifier": (Classifier(), [(1, 10)]),
    "yolov10": (YoloV10Head(), [(1, 84, 6)]),
    "detections": (DetectionsHead(), [(1, 1), (1, 84, 4), (1, 84), (1, 84)]),
}


NO_MATTER = {
    ("classifier", "size"),  # any picture will do
    *((head, what) for head in ("yolov10", "detections") for what in ("classes", "size")),
}
"""What a head's output shapes do not depend on."""


@pytest.mark.parametrize("name", RIGHT)
def test_check_accepts_the_right_shapes(name):
    head, shapes = RIGHT[name]
    head.check(shapes, SIZE, 10)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (name, wrong)
        for name in RIGHT
        for wrong in ("classes", "outputs", "order", "size", "other head")
        if (name, wrong) not in NO_MATTER
    ],
)
def test_check_refuses_other_shapes(name, wrong):
    head, shapes = RIGHT[name]
    size, n_classes = SIZE, 10
    if wrong == "classes":
        n_classes = 80
    elif wrong == "outputs":
        shapes = [*shapes, (1, 3)]
    elif wrong == "order":
        shapes = [tuple(reversed(shape)) for shape in shapes]
    elif wrong == "size":
        size = (96, 96)
    else:
        shapes = [(1, 7, 7)]
    with pytest.raises(ModelError) as caught:
        head.check(shapes, size, n_classes)
    text = str(caught.value)
    assert "\n" not in text
    assert f"head {name}" in text
    assert shown(shapes) in text  # what the model has
    assert "Choose model.head" in text


def test_shapes_are_shown_as_users_write_them():
    assert shown([(1, 84, 8400), (1, 2)]) == "1x84x8400, 1x2"


# --- classifier -----------------------------------------------------------------------------------


def test_classifier_gives_the_output_itself():
    values = np.array([0.1, 3, -2], np.float32)
    np.testing.assert_array_equal(Classifier().logits([values]), values)


def test_no_detections_has_the_types_of_some():
    empty = no_detections()
    assert (empty.boxes.dtype, empty.scores.dtype) == (np.float32, np.float32)
    assert empty.labels.dtype == np.int64
