"""Calibration images as images to measure on: with their truth, and other keys than any others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.dataset import Dataset
from bench.data.images import ImagesDataset
from bench.data.search_images import SearchImages
from bench.data.shapes_dataset import ShapesDataset
from bench.data.yolo import YoloDataset


def search(task: Any = "detection", indices: tuple[int, ...] = (4, 1), **more: Any) -> SearchImages:
    return SearchImages(ShapesDataset(task, 2, 6, **more), indices)


def test_the_images_and_boxes_that_were_chosen_in_their_order() -> None:
    images = search()
    data: Dataset = images  # what a run takes
    drawn = images.dataset
    assert (data.name, data.task) == ("shapes calibration images", "detection")
    assert data.class_names == drawn.class_names
    assert list(data.validation.names) == ["calibration-000004", "calibration-000001"]
    assert len(data.validation) == 2
    for place, index in enumerate((4, 1)):
        expected = drawn.calibration.image(index)
        np.testing.assert_array_equal(data.validation.image(place), expected)
        target, truth = (data.boxes or ())[place], (drawn.calibration_boxes or ())[index]
        np.testing.assert_array_equal(target.boxes, truth.boxes)
        np.testing.assert_array_equal(target.labels, truth.labels)
    assert len(data.boxes or ()) == 2
    assert data.labels is None


def test_labels_that_were_chosen() -> None:
    data = search("classification")
    assert data.labels is not None and data.dataset.calibration_labels is not None
    assert data.labels.tolist() == data.dataset.calibration_labels[[4, 1]].tolist()
    assert data.labels.dtype == np.int64
    assert data.boxes is None


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_calibration_is_the_dataset_s(task: Any) -> None:
    data = search(task)
    assert data.calibration is data.dataset.calibration
    assert data.calibration_classes() == data.dataset.calibration_classes()
    for name in ("calibration_boxes", "calibration_labels"):
        truth = getattr(data.dataset, name)
        assert (getattr(data, name) is None) == (truth is None)


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_no_labels(task: Any, tmp_path: Path, write_picture: Any) -> None:
    write_picture(tmp_path / "a.png")
    data = SearchImages(ImagesDataset(task, str(tmp_path), str(tmp_path), 3), (0,))
    assert data.boxes is None and data.labels is None
    assert data.fingerprint


def test_fingerprints_of_the_images_and_of_the_whole() -> None:
    kinds = [
        search(),
        search(indices=(1, 4)),
        search(indices=(4,)),
        search(indices=tuple(range(6))),
        search("classification"),
        search(calibration_domain="day"),
    ]
    assert len({data.fingerprint for data in kinds}) == len(kinds)
    images = {data.validation.fingerprint for data in kinds}
    assert len(images | {search().calibration.fingerprint}) == len(kinds) + 1
    assert search().fingerprint == kinds[0].fingerprint
    assert search().validation.fingerprint == kinds[0].validation.fingerprint
    other = SearchImages(ShapesDataset("detection", 3, 6), (4, 1))  # more validation images
    assert other.fingerprint != kinds[0].fingerprint
    assert other.validation.fingerprint == kinds[0].validation.fingerprint


def test_another_label_is_other_data(tmp_path: Path, write_picture: Any) -> None:
    for seed, name in enumerate(("val/a", "train/b")):
        write_picture(tmp_path / "images" / f"{name}.png", seed)
        path = tmp_path / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True)
        path.write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("{val: images/val, train: images/train, names: [x, y]}")

    def opened() -> SearchImages:
        return SearchImages(YoloDataset("detection", str(tmp_path / "data.yaml")), (0,))

    before = opened()
    assert before.fingerprint == opened().fingerprint
    (tmp_path / "labels" / "train" / "b.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    assert opened().fingerprint != before.fingerprint
    assert opened().dataset.fingerprint == before.dataset.fingerprint


def test_an_image_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        _ = search(indices=(6,)).boxes
