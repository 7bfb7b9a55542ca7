"""The threshold of the best F1, and what keeping another system's costs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.evaluation import operating_point
from bench.evaluation.coco_map import evaluate_boxes
from bench.evaluation.matches import MatchTable
from bench.evaluation.operating_point import OperatingPoint, best_threshold, count, f1, find_shift
from bench.model.detections import Detections


def made(scores, hits, images, to_find, ignored=None) -> MatchTable:
    """A table of one class; ``hits`` and ``ignored`` are bits of the IoU thresholds."""
    return MatchTable(
        image=np.array(images, np.int32),
        score=np.array(scores, np.float32),
        hit=np.array(hits, np.uint16),
        ignored=np.array(ignored or [0] * len(scores), np.uint16),
        class_start=np.array([0, len(scores)], np.int64),
        positives=np.array(to_find, np.int32).reshape(-1, 1),
    )


def everywhere(table: MatchTable):
    return np.ones(table.n_images, np.bool_)


def above(found: Detections, threshold: float) -> Detections:
    own = found.scores >= np.float32(threshold)
    return Detections(found.boxes[own], found.scores[own], found.labels[own])


def test_worked_example():
    # Right, right, wrong, right, wrong; four objects: F1 = 2/5, 4/6, 4/7, 6/8, 6/9.
    table = made([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0], [0, 1, 0, 1, 1], [2, 2])
    assert best_threshold(table, everywhere(table)) == pytest.approx(0.6)
    assert count(table, 0.6).tolist() == [[2, 1, 2], [2, 2, 2]]
    assert f1(count(table, 0.6).sum(0)) == pytest.approx(6 / 8)


def test_equal_scores_are_believed_together():
    table = made([0.9, 0.9, 0.9], [1, 0, 0], [0, 0, 0], [1])
    assert best_threshold(table, everywhere(table)) == pytest.approx(0.9)
    assert f1(count(table, 0.9).sum(0)) == pytest.approx(2 / 4)


def test_what_is_ignored_at_iou_50_counts_neither_way():
    table = made([0.9, 0.8], [0, 1], [0, 0], [1], ignored=[1, 0])
    assert count(table, 0.1).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("seed", range(6))
def test_matches_hold_above_every_threshold(scene, seed):
    """COCO matches by score, so cutting at a threshold leaves the matches above it alone."""
    targets, found = scene(seed)
    table = evaluate_boxes(targets, found, 4).matches
    for threshold in (0.2, 0.5, 0.8):
        cut = evaluate_boxes(targets, [above(own, threshold) for own in found], 4).matches
        assert np.array_equal(count(table, threshold), count(cut, 0.0))


@pytest.mark.parametrize("seed", range(6))
def test_no_other_threshold_is_better(scene, seed):
    table = evaluate_boxes(*scene(seed, tie_levels=6), n_classes=4).matches
    best = best_threshold(table, everywhere(table))
    every = [f1(count(table, score).sum(0)) for score in np.unique(table.score)]
    assert best is not None
    assert f1(count(table, best).sum(0)) == pytest.approx(max(every))


def test_pressed_scores_lose_at_the_old_threshold_alone(scene):
    """The order stays, hence mAP and the best F1; the old threshold drops nearly all."""
    table = evaluate_boxes(*scene(1, n_images=60, tie_levels=0), n_classes=4).matches
    pressed = dataclasses.replace(table, score=table.score * np.float32(0.4))
    shift = find_shift(OperatingPoint(table), OperatingPoint(pressed))
    assert shift is not None
    assert pressed.map() == pytest.approx(table.map())
    assert shift.int8 == pytest.approx(0.4 * shift.fp32)
    assert shift.f1_int8 == pytest.approx(shift.f1_fp32)
    assert shift.f1_at_fp32_threshold < 0.7 * shift.f1_int8
    assert shift.low <= shift.high < 0


@pytest.mark.parametrize("seed", range(4))
def test_a_resample_chooses_on_one_half_and_is_judged_on_the_other(scene, seed, monkeypatch):
    """Of a single resample, without copies, the interval is the difference on it."""
    targets, found = scene(seed, n_images=40)
    rng = np.random.default_rng(seed)
    noisy = [dataclasses.replace(f, scores=f.scores * rng.uniform(0.3, 1, len(f.scores)))
             for f in found]  # fmt: skip
    fp32, int8 = (evaluate_boxes(targets, own, 4).matches for own in (found, noisy))
    drawn, odd = rng.random(40) < 0.7, np.arange(40) % 2 == 1
    monkeypatch.setattr(operating_point, "resample_weights", lambda n: drawn[None].astype(np.int32))

    def held_out(chooser: MatchTable) -> float:
        parts = [count(int8, best_threshold(chooser, drawn & ~half))[drawn & half].sum(0)
                 for half in (odd, ~odd)]  # fmt: skip
        return f1(sum(parts))

    shift = find_shift(OperatingPoint(fp32), OperatingPoint(int8))
    assert shift is not None
    assert shift.low == shift.high == pytest.approx(held_out(fp32) - held_out(int8))


def test_the_same_system_loses_nothing(scene):
    table = evaluate_boxes(*scene(2, n_images=20), n_classes=4).matches
    shift = find_shift(OperatingPoint(table), OperatingPoint(table))
    assert shift is not None
    assert shift.fp32 == shift.int8
    assert shift.f1_at_fp32_threshold == shift.f1_int8 == shift.f1_fp32
    assert (shift.low, shift.high) == (0, 0)


def test_who_finds_nothing_has_no_threshold():
    blind = made([0.9], [0], [0], [1, 1])
    seeing = made([0.9], [1], [0], [1, 1])
    assert best_threshold(blind, everywhere(blind)) is None
    assert find_shift(OperatingPoint(seeing), OperatingPoint(blind)) is None
    assert best_threshold(seeing, np.array([False, True])) is None
