"""Scores by class and by size: COCOeval's own, and in sum the headline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bench.evaluation.coco_map as coco_map
from bench.evaluation.bootstrap import mean_over_classes
from bench.evaluation.interval import half_samples
from bench.evaluation.task import ClassificationTask, DetectionTask

HEAD: Any = None  # scoring reads no outputs


@pytest.mark.parametrize("seed", range(4))
def test_classes_and_sizes_are_cocoevals(scene, seed, monkeypatch):
    targets, found = scene(seed, n_images=20, n_classes=5)
    real: Any = coco_map.COCOeval  # type: ignore[attr-defined]
    made: list[Any] = []

    def remember(*given: Any, **options: Any) -> Any:
        made.append(real(*given, **options))
        return made[-1]

    monkeypatch.setattr(coco_map, "COCOeval", remember)
    score = DetectionTask(HEAD, targets, 5).score(found)
    precision = made[0].eval["precision"]  # thresholds x recalls x classes x areas x detections
    expected = [own.mean() if (own := precision[:, :, c, 0, -1]).min() >= 0 else np.nan
                for c in range(5)]  # fmt: skip
    assert score.class_values == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert np.nanmean(score.class_values) == pytest.approx(score.value)
    for area, size in enumerate(score.sizes, start=1):
        own = precision[:, :, :, area, -1]
        assert size.value == pytest.approx(own[own > -1].mean())


def test_counts_are_of_the_objects_to_find(scene):
    targets, found = scene(3, n_images=20, n_classes=5)
    score = DetectionTask(HEAD, targets, 5).score(found)
    areas = np.concatenate([t.areas[~t.crowd] for t in targets])
    labels = np.concatenate([t.labels[~t.crowd] for t in targets])
    edges = [0, 32**2, 96**2, np.inf]
    assert [size.n_objects for size in score.sizes] == np.histogram(areas, edges)[0].tolist()
    assert score.class_counts.tolist() == np.bincount(labels, minlength=5).tolist()
    shown = [set(target.labels[~target.crowd].tolist()) for target in targets]
    assert score.class_images.tolist() == [sum(c in own for own in shown) for c in range(5)]
    assert (score.class_images < score.class_counts).any()


def test_resamples_of_the_classes_average_to_the_map_of_these_images(scene):
    targets, found = scene(5, n_images=12)
    score = DetectionTask(HEAD, targets, 4).score(found)
    assert score.class_replicates.shape == (600, 4)
    assert np.isnan(score.class_replicates[:, 3]).all()  # there is nothing of the last class
    means = mean_over_classes(score.class_replicates)
    for row, weights in enumerate(half_samples(12)[:20]):
        assert means[row] == pytest.approx(score.judged.map(weights), nan_ok=True)


def test_a_classifiers_classes():
    labels = np.array([0, 0, 0, 2, 2, 2, 2])
    guesses = np.array([0, 1, 0, 2, 2, 2, 0])
    score = ClassificationTask(HEAD, labels).score(list(np.eye(4, dtype=np.float32)[guesses]))
    assert score.class_values == pytest.approx([2 / 3, np.nan, 3 / 4, np.nan], nan_ok=True)
    assert score.class_counts.tolist() == score.class_images.tolist() == [3, 0, 4, 0]
    spread = score.class_replicates[:, 0]
    assert 0.5 < np.nanmean(spread) < 0.8
    assert np.isnan(score.class_replicates[:, [1, 3]]).all()
