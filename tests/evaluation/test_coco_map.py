from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.dataset import BoxTarget
from bench.errors import DataError, ModelError
from bench.evaluation.coco_map import evaluate_boxes
from bench.evaluation.matches import MatchTable
from bench.model.detections import Detections

SEEDS = st.integers(0, 10_000)
property_test = settings(max_examples=30, deadline=None, derandomize=True)


def target(boxes, labels=None, areas=None, crowd=None) -> BoxTarget:
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    n = len(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    return BoxTarget(
        boxes=boxes,
        labels=np.array([0] * n if labels is None else labels, dtype=np.int64),
        areas=np.array(sides.prod(axis=1) if areas is None else areas, dtype=np.float32),
        crowd=np.array([False] * n if crowd is None else crowd, dtype=np.bool_),
    )


def found(boxes, scores, labels=None) -> Detections:
    return Detections(
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float32),
        labels=np.array([0] * len(scores) if labels is None else labels, dtype=np.int64),
    )


def repeated(images, weights):
    return [images[i] for i in np.repeat(np.arange(len(images)), weights)]


BOX = [10, 10, 60, 60]
ELSEWHERE = [100, 100, 160, 160]
NOTHING = found([], [])


def test_summary_equals_pycocotools_used_through_files(scene, tmp_path):
    targets, detections = scene(3, n_images=20, n_classes=5)
    annotations = [
        {"image_id": i, "category_id": int(label), "area": float(area), "iscrowd": int(crowd)}
        | {"bbox": [float(v) for v in (box[0], box[1], *(box[2:] - box[:2].astype(float)))]}
        for i, t in enumerate(targets)
        for box, label, area, crowd in zip(t.boxes, t.labels, t.areas, t.crowd, strict=True)
    ]
    results = [
        {"image_id": i, "category_id": int(label), "score": float(score)}
        | {"bbox": [float(v) for v in (box[0], box[1], *(box[2:] - box[:2].astype(float)))]}
        for i, d in enumerate(detections)
        for box, label, score in zip(d.boxes, d.labels, d.scores, strict=True)
    ]
    truth = {
        "images": [{"id": i} for i in range(20)],
        "categories": [{"id": c, "name": str(c)} for c in range(5)],
        "annotations": [a | {"id": n} for n, a in enumerate(annotations, start=1)],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "truth.json"))
        evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    score = evaluate_boxes(targets, detections, 5)
    ours = [score.map50_95, score.map50, score.map75]
    ours += [score.map_small, score.map_medium, score.map_large, score.ar100]
    assert ours == pytest.approx(evaluator.stats[[0, 1, 2, 3, 4, 5, 8]], abs=1e-12)
    assert 0.1 < score.map50_95 < score.map50 < 0.9  # the scene is neither trivial nor hopeless


@property_test
@given(seed=SEEDS, n_classes=st.integers(1, 5))
def test_the_table_repeats_pycocotools_on_the_full_sample(scene, seed, n_classes):
    score = evaluate_boxes(*scene(seed, n_classes=n_classes), n_classes=n_classes)
    expected = [score.map50_95, score.map50, score.map75]
    table = score.matches
    actual = [table.map(), table.map(iou=slice(1)), table.map(iou=slice(5, 6))]
    assert actual == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert math.isnan(score.map50_95) or 0 <= score.map50_95 <= 1


@property_test
@given(seed=SEEDS, tie_levels=st.sampled_from([0, 1, 2, 6]), n_classes=st.integers(1, 5))
def test_weights_equal_pycocotools_on_duplicated_images(scene, seed, tie_levels, n_classes):
    targets, detections = scene(seed, n_classes=n_classes, tie_levels=tie_levels)
    weights = np.random.default_rng(seed).multinomial(len(targets), [1 / len(targets)] * 8)
    score = evaluate_boxes(repeated(targets, weights), repeated(detections, weights), n_classes)
    table = evaluate_boxes(targets, detections, n_classes).matches
    actual = [table.map(weights), table.map(weights, iou=slice(1))]
    assert actual == pytest.approx([score.map50_95, score.map50], abs=1e-9, nan_ok=True)


def test_tied_detections_of_one_image_interleave_with_its_copies():
    targets = [target([BOX])]
    detections = [found([BOX, ELSEWHERE], [0.5, 0.5])]
    expected = evaluate_boxes(targets * 3, detections * 3, 1)  # hit, miss, hit, miss, hit, miss
    table = evaluate_boxes(targets, detections, 1).matches
    assert table.map(np.array([3])) == pytest.approx(expected.map50_95, abs=1e-9)
    assert table.map(np.array([3])) < 1


def test_equal_scores_of_different_classes_or_images_are_no_ties():
    detections = [found([BOX] * 4, [0.5] * 4, [0, 1, 1, 3])]
    table = evaluate_boxes([target([BOX])] * 2, detections * 2, 5).matches
    assert table.image.tolist() == [0, 1, 0, 0, 1, 1, 0, 1]
    assert table.tied.tolist() == [False] * 3 + [True, False, True, False, False]
    single = evaluate_boxes([target([BOX])], [found([BOX] * 2, [0.5] * 2, [0, 1])], 2).matches
    assert single.tied.tolist() == [False, False]


def test_weighting_all_images_alike_changes_nothing_without_ties(scene):
    table = evaluate_boxes(*scene(7, tie_levels=0), n_classes=4).matches
    assert table.map(np.full(table.n_images, 3)) == pytest.approx(table.map(), abs=0.02)
    assert table.map(np.ones(table.n_images, dtype=np.int64)) == table.map()


@property_test
@given(seed=SEEDS)
def test_perfect_detections_score_one(scene, seed):
    targets, _ = scene(seed)
    detections = [
        found(t.boxes[~t.crowd], np.linspace(0.9, 0.5, (~t.crowd).sum()), t.labels[~t.crowd])
        for t in targets
    ]
    score = evaluate_boxes(targets, detections, 4)
    if score.matches.positives.any():
        assert [score.map50_95, score.ar100, score.matches.map()] == pytest.approx([1, 1, 1])
    else:
        assert math.isnan(score.map50_95) and math.isnan(score.matches.map())


@property_test
@given(seed=SEEDS)
def test_the_order_of_images_does_not_matter(scene, seed):
    targets, detections = scene(seed, tie_levels=0)
    order = np.random.default_rng(seed).permutation(len(targets))
    shuffled = evaluate_boxes([targets[i] for i in order], [detections[i] for i in order], 4)
    score = evaluate_boxes(targets, detections, 4)
    assert shuffled.map50_95 == pytest.approx(score.map50_95, abs=1e-12, nan_ok=True)
    assert np.array_equal(shuffled.matches.positives, score.matches.positives[order])


def test_a_detection_on_a_crowd_counts_neither_way():
    targets = [target([BOX, ELSEWHERE], crowd=[False, True])]
    score = evaluate_boxes(targets, [found([ELSEWHERE, BOX], [0.9, 0.8])], 1)
    assert [score.map50_95, score.matches.map()] == pytest.approx([1, 1])
    assert score.matches.positives.tolist() == [[1]]
    assert score.matches.ignored.tolist() == [2**10 - 1, 0]
    assert score.matches.hit.tolist() == [0, 2**10 - 1]


def test_a_class_without_ground_truth_is_left_out_of_the_mean():
    detections = [found([BOX, BOX], [0.9, 0.8], [0, 1])]
    assert evaluate_boxes([target([BOX])], detections, 3).map50_95 == pytest.approx(1)


def test_no_detections_score_zero_and_no_ground_truth_nan():
    assert evaluate_boxes([target([BOX])], [NOTHING], 2).map50_95 == 0
    score = evaluate_boxes([target([])], [found([BOX], [0.5])], 2)
    assert math.isnan(score.map50_95) and math.isnan(score.ar100)
    assert math.isnan(evaluate_boxes([target([])], [NOTHING], 2).matches.map())


def test_the_hundred_best_detections_of_a_class_count():
    crowded = found([ELSEWHERE] * 120 + [BOX], np.linspace(0.9, 0.1, 121))
    assert evaluate_boxes([target([BOX])], [crowded], 1).map50_95 == 0
    score = evaluate_boxes([target([BOX])], [found(crowded.boxes[21:], crowded.scores[21:])], 1)
    assert [score.map50_95, score.matches.map()] == pytest.approx([0.01, 0.01])
    assert len(evaluate_boxes([target([BOX])], [crowded], 1).matches.image) == 100


def test_sizes_follow_the_annotated_area_not_the_box():
    score = evaluate_boxes([target([BOX], areas=[900])], [found([BOX], [0.5])], 1)
    assert score.map_small == pytest.approx(1)
    assert math.isnan(score.map_medium) and math.isnan(score.map_large)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_box_that_is_not_finite_is_a_false_positive(broken):
    detections = [found([[10, 10, broken, 60], BOX], [0.9, 0.8])]
    score = evaluate_boxes([target([BOX])], detections, 1)
    assert score.map50_95 == pytest.approx(0.5)
    assert score.matches.hit.tolist() == [0, 2**10 - 1]


def test_a_score_that_is_nan_ranks_last():
    detections = [found([ELSEWHERE, BOX], [math.nan, 0.1])]
    assert evaluate_boxes([target([BOX])], detections, 1).map50_95 == pytest.approx(1)


def test_nothing_is_printed(capsys):
    evaluate_boxes([target([BOX])], [found([BOX], [0.5])], 1)
    assert capsys.readouterr().out == ""


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="2 targets but 1"):
        evaluate_boxes([target([BOX])] * 2, [NOTHING], 1)
    with pytest.raises(DataError, match="no image"):
        evaluate_boxes([], [], 1)
    with pytest.raises(DataError, match="label of image 1"):
        evaluate_boxes([target([BOX]), target([BOX], [2])], [NOTHING] * 2, 2)
    with pytest.raises(ModelError, match="detection in image 0"):
        evaluate_boxes([target([BOX])], [found([BOX], [0.5], [-1])], 2)


def test_wrong_weights_are_refused():
    table = evaluate_boxes([target([BOX])], [NOTHING], 1).matches
    with pytest.raises(ValueError, match="1 non-negative"):
        table.map(np.array([1, 1]))
    with pytest.raises(ValueError, match="1 non-negative"):
        table.map(np.array([-1]))


def test_a_table_cannot_be_changed(scene):
    table = evaluate_boxes(*scene(5), n_classes=4).matches
    for field in dataclasses.fields(MatchTable):
        with pytest.raises(ValueError, match="read-only"):
            getattr(table, field.name)[...] = 0
    assert [table.image.dtype, table.score.dtype] == [np.int32, np.float32]
    assert [table.hit.dtype, table.ignored.dtype] == [np.uint16, np.uint16]
