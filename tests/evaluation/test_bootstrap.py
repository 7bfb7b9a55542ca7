from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.data.dataset import BoxTarget
from bench.evaluation.bootstrap import (
    map_replicates,
    mean_replicates,
    paired_bootstrap,
    resample_weights,
)
from bench.evaluation.coco_map import evaluate_boxes
from bench.model.detections import Detections

SEEDS = st.integers(0, 10_000)
property_test = settings(max_examples=30, deadline=None, derandomize=True)
CORRECT = hnp.arrays(np.bool_, 40)


def mean_difference(baseline, candidate, resamples=1000, seed=0):
    """Two systems' means, as a run's Top-1 is compared."""
    before, after = baseline.astype(np.float64), candidate.astype(np.float64)
    weights = resample_weights(len(before), resamples, seed)
    replicates = (mean_replicates(values, weights) for values in (before, after))
    return paired_bootstrap(float(after.mean() - before.mean()), *replicates)


def map_difference(baseline, candidate, resamples, seed=0, level=0.95, iou=slice(None)):
    """Two systems' mAP, as a run's is compared."""
    weights = resample_weights(baseline.n_images, resamples, seed)
    replicates = (map_replicates(matches, weights, iou) for matches in (baseline, candidate))
    return paired_bootstrap(
        candidate.map(iou=iou) - baseline.map(iou=iou), *replicates, level=level
    )


def shrunk(detections: list[Detections]) -> list[Detections]:
    """A worse system: its boxes are a fifth too short on both sides."""
    corners = [(d.boxes[:, :2], d.boxes[:, 2:]) for d in detections]
    return [
        Detections(np.hstack([first, last - 0.2 * (last - first)]), d.scores, d.labels)
        for d, (first, last) in zip(detections, corners, strict=True)
    ]


def test_every_resample_draws_as_many_images_as_there_are():
    weights = resample_weights(30, resamples=200, seed=1)
    assert weights.shape == (200, 30) and weights.dtype == np.int32
    assert (weights.sum(axis=1) == 30).all() and (weights >= 0).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(30), abs=0.3)


def test_the_seed_decides_the_resamples():
    assert np.array_equal(resample_weights(9, 50, seed=4), resample_weights(9, 50, seed=4))
    assert not np.array_equal(resample_weights(9, 50, seed=4), resample_weights(9, 50, seed=5))


@property_test
@given(
    seed=SEEDS,
    tie_levels=st.sampled_from([0, 1, 2, 6]),
    n_classes=st.integers(1, 5),
    iou=st.sampled_from([slice(None), slice(1), slice(5, 6), slice(9, None)]),
)
def test_the_kernel_equals_the_table(scene, seed, tie_levels, n_classes, iou):
    table = evaluate_boxes(*scene(seed, 6, n_classes, tie_levels), n_classes=n_classes).matches
    weights = resample_weights(6, resamples=20, seed=seed)
    expected = [table.map(row, iou) for row in weights]
    assert map_replicates(table, weights, iou) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_the_kernel_equals_pycocotools_on_duplicated_images(scene):
    targets, detections = scene(11, n_images=15, n_classes=3, tie_levels=3)
    weights = resample_weights(15, resamples=10, seed=0)
    expected = []
    for row in weights:
        drawn = np.repeat(np.arange(15), row)
        score = evaluate_boxes([targets[i] for i in drawn], [detections[i] for i in drawn], 3)
        expected.append(score.map50_95)
    table = evaluate_boxes(targets, detections, 3).matches
    assert map_replicates(table, weights) == pytest.approx(expected, abs=1e-9)


def test_a_hundred_detections_of_one_class_in_an_image():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 40, (300, 2))
    boxes = np.hstack([corner, corner + 20]).astype(np.float32)
    truth = BoxTarget(boxes[:30], np.zeros(30, int), np.full(30, 400.0), rng.random(30) < 0.1)
    crowd = Detections(boxes, rng.integers(0, 9, 300) / 8, np.zeros(300, int))
    score = evaluate_boxes([truth] * 3, [crowd, crowd, crowd], 1)
    weights = resample_weights(3, resamples=5)
    expected = [score.matches.map(row) for row in weights]
    assert map_replicates(score.matches, weights) == pytest.approx(expected, abs=1e-9)
    assert score.matches.map() == pytest.approx(score.map50_95, abs=1e-9)


def test_a_resample_without_boxes_is_nan_and_left_out_of_the_interval():
    box = np.array([[0, 0, 9, 9]], dtype=np.float32)
    empty = BoxTarget(box[:0], np.zeros(0, int), np.zeros(0), np.zeros(0, bool))
    full = BoxTarget(box, np.zeros(1, int), np.full(1, 81.0), np.zeros(1, bool))
    found = Detections(box, np.ones(1), np.zeros(1, int))
    table = evaluate_boxes([empty, full], [found, found], 1).matches
    replicates = map_replicates(table, np.array([[2, 0], [0, 2]], dtype=np.int32))
    assert np.isnan(replicates[0]) and replicates[1] == 1
    assert paired_bootstrap(0.0, replicates, replicates).low == 0
    assert np.isnan(paired_bootstrap(0.0, replicates[:1], replicates[:1]).low)


def test_weights_for_other_images_are_refused(scene):
    table = evaluate_boxes(*scene(1), n_classes=4).matches
    with pytest.raises(ValueError, match="8 images"):
        map_replicates(table, resample_weights(7, 3))
    with pytest.raises(ValueError, match="0 IoU thresholds"):
        map_replicates(table, resample_weights(8, 3), slice(10, None))


@property_test
@given(values=hnp.arrays(np.float64, 12, elements=st.floats(-1e3, 1e3)), seed=SEEDS)
def test_a_replicated_mean_is_the_mean_of_the_drawn_images(values, seed):
    weights = resample_weights(12, resamples=5, seed=seed)
    expected = [np.repeat(values, row).mean() for row in weights]
    assert mean_replicates(values, weights) == pytest.approx(expected, abs=1e-9)


@property_test
@given(baseline=CORRECT, candidate=CORRECT, seed=SEEDS)
def test_an_interval_of_means_contains_the_estimate(baseline, candidate, seed):
    interval = mean_difference(baseline, candidate, resamples=300, seed=seed)
    assert interval.estimate == candidate.mean() - baseline.mean()
    assert interval.low <= interval.estimate <= interval.high


def test_an_interval_of_means_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(0)
    baseline = rng.random(2000) < 0.7
    candidate = np.where(rng.random(2000) < 0.05, ~baseline, baseline)
    interval = mean_difference(baseline, candidate)
    difference = candidate.astype(float) - baseline
    half = 1.96 * difference.std() / np.sqrt(2000)
    expected = [difference.mean() - half, difference.mean() + half]
    assert [interval.low, interval.high] == pytest.approx(expected, abs=0.1 * half)


@property_test
@given(correct=CORRECT)
def test_identical_systems_differ_by_exactly_nothing(correct):
    interval = mean_difference(correct, correct, resamples=50)
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_identical_detectors_differ_by_exactly_nothing(scene):
    table = evaluate_boxes(*scene(2), n_classes=4).matches
    interval = map_difference(table, table, resamples=50)
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_a_worse_detector_is_below_the_baseline_and_its_interval_holds_the_estimate(scene):
    targets, detections = scene(21, n_images=60)
    baseline = evaluate_boxes(targets, detections, 4)
    candidate = evaluate_boxes(targets, shrunk(detections), 4)
    interval = map_difference(baseline.matches, candidate.matches, resamples=500, seed=3)
    assert interval.estimate == pytest.approx(candidate.map50_95 - baseline.map50_95, abs=1e-9)
    assert interval.low <= interval.estimate <= interval.high < 0
    narrow = map_difference(baseline.matches, candidate.matches, 500, seed=3, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high
    at_50 = map_difference(baseline.matches, candidate.matches, 500, seed=3, iou=slice(1))
    assert at_50.estimate == pytest.approx(candidate.map50 - baseline.map50, abs=1e-9)


def test_strangers_are_not_paired():
    with pytest.raises(ValueError, match="cannot pair"):
        paired_bootstrap(0.0, np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="cannot pair"):
        paired_bootstrap(0.0, np.ones(3), np.ones(3), level=1.0)
