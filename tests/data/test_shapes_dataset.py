"""The embedded dataset behind the harness's protocol, and its COCO annotations."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from bench.data.dataset import TaskName
from bench.data.shapes import CLASSES, draw_picture, draw_scene, split_seed
from bench.data.shapes_dataset import ShapeSamples, ShapesDataset
from bench.errors import ConfigError


def dataset(task: Any = "detection", **options: Any) -> ShapesDataset:
    return ShapesDataset(task, **({"validation_images": 4, "calibration_images": 6} | options))


def test_splits_have_the_sizes_asked_for_and_other_images():
    data = dataset()
    assert (len(data.validation), len(data.calibration)) == (4, 6)
    assert len(set(data.validation.names) | set(data.calibration.names)) == 10
    images = [data.validation.image(i) for i in range(4)] + [data.calibration.image(0)]
    assert len({image.tobytes() for image in images}) == 5
    assert (data.name, data.class_names) == ("shapes", CLASSES)


def test_scenes_with_their_boxes_in_order():
    data = dataset()
    for index in range(4):
        scene = draw_scene(split_seed("validation", index))
        np.testing.assert_array_equal(data.validation.image(index), scene.image)
        target = data.boxes[index]
        np.testing.assert_array_equal(target.boxes, scene.boxes)
        np.testing.assert_array_equal(target.labels, scene.labels)
        sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
        np.testing.assert_array_equal(target.areas, sides[:, 0] * sides[:, 1])
        assert not target.crowd.any()


def test_pictures_with_their_labels_in_order():
    data = dataset("classification")
    expected = [draw_picture(split_seed("validation", index)) for index in range(4)]
    np.testing.assert_array_equal(data.labels, [label for _, label in expected])
    assert data.labels.dtype == np.int64
    for index, (picture, _) in enumerate(expected):
        np.testing.assert_array_equal(data.validation.image(index), picture)


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_what_is_in_the_images_is_drawn_once_and_read_from_the_cache(
    task: TaskName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    drawn = dataset(task).validation.truths
    assert_same(dataset(task, cache=tmp_path).validation.truths, drawn)
    with monkeypatch.context() as patch:
        patch.setattr(ShapeSamples, "image", None)
        assert_same(dataset(task, cache=tmp_path).validation.truths, drawn)
    (path,) = tmp_path.glob("truths-*.npz")
    path.write_bytes(path.read_bytes()[:-5])
    assert_same(dataset(task, cache=tmp_path).validation.truths, drawn)
    assert path.name in capsys.readouterr().err


def assert_same(truths: Sequence[Any], expected: Sequence[Any]) -> None:
    assert len(truths) == len(expected)
    for one, other in zip(truths, expected, strict=True):
        assert type(one) is type(other)
        if isinstance(one, int):
            assert one == other
            continue
        for name in ("boxes", "labels", "areas", "crowd"):
            found, drawn = getattr(one, name), getattr(other, name)
            assert found.dtype == drawn.dtype
            np.testing.assert_array_equal(found, drawn)


def test_domains_and_outliers_are_chosen_for_each_split():
    data = dataset(validation_domain="night", calibration_domain="glare", calibration_outlier=False)
    assert {data.validation.scene(i).domain for i in range(4)} == {"night"}
    kinds = {(s.domain, s.outlier) for s in map(data.calibration.scene, range(6))}
    assert kinds == {("glare", False)}
    odd = dataset(calibration_outlier=True)
    assert all(odd.calibration.scene(i).outlier for i in range(6))
    pictures = dataset("classification", validation_domain="night")
    expected, _ = draw_picture(split_seed("validation", 0), domain="night")
    np.testing.assert_array_equal(pictures.validation.image(0), expected)


def test_fingerprint_changes_with_everything_and_with_nothing():
    kinds = [
        dataset(),
        dataset("classification"),
        dataset(validation_images=5),
        dataset(calibration_images=7),
        dataset(validation_domain="day"),
        dataset(calibration_domain="day"),
        dataset(calibration_outlier=True),
        dataset(calibration_outlier=False),
    ]
    assert len({data.fingerprint for data in kinds}) == len(kinds)
    assert dataset().fingerprint == dataset().fingerprint


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"validation_domain": "dusk"}, "no domain 'dusk'.* day, night, glare"),
        ({"calibration_domain": "dusk"}, "no domain 'dusk'"),
        ({"validation_images": 0}, "1 to 1,000,000 images"),
        ({"calibration_images": -1}, "1 to 1,000,000 images"),
    ],
)
def test_refusals(options, text):
    with pytest.raises(ConfigError, match=text):
        dataset(**options)


def test_annotations_are_coco(tmp_path):
    data = dataset()
    path = tmp_path / "annotations.json"
    path.write_text(data.annotations())
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    assert coco.getImgIds() == [0, 1, 2, 3]
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    for index, target in enumerate(data.boxes):
        (image,) = coco.loadImgs(index)
        height, width, _ = data.validation.image(index).shape
        assert (image["height"], image["width"]) == (height, width)
        found = coco.loadAnns(coco.getAnnIds(imgIds=index))
        boxes = np.array([a["bbox"] for a in found])
        np.testing.assert_array_equal(boxes[:, :2], target.boxes[:, :2])
        np.testing.assert_array_equal(boxes[:, :2] + boxes[:, 2:], target.boxes[:, 2:])
        np.testing.assert_array_equal([a["category_id"] - 1 for a in found], target.labels)
        np.testing.assert_array_equal([a["area"] for a in found], target.areas)
    numbers = [a["id"] for a in json.loads(data.annotations())["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_calibration_images_tell_their_classes(task):
    data = ShapesDataset(task, 1, 5)
    classes = data.calibration_classes()
    assert len(classes) == 5
    assert all(0 <= label < len(data.class_names) for own in classes for label in own)
    if task == "classification":
        assert all(len(own) == 1 for own in classes)
