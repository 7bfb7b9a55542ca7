"""COCO files: read as they are meant, and every way of being wrong told in one line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.coco import CocoDataset
from bench.errors import BenchError, ConfigError, DataError

CONTENT: dict[str, Any] = {
    "images": [
        {"id": 30, "file_name": "b.png", "height": 12, "width": 16},
        {"id": 7, "file_name": "a.png", "height": 12, "width": 16},
    ],
    "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4], "area": 5, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 8, 2], "iscrowd": 1},
    ],
}


class Place:
    """A folder with images, annotations and calibration images, to be spoilt."""

    def __init__(self, root: Path) -> None:
        self.images, self.annotations = root / "val", root / "annotations.json"
        self.calibration = root / "calib"

    def write(self, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.annotations.write_text(text)

    def open(self, **changes: Any) -> CocoDataset:
        given = {
            "task": "detection",
            "images": str(self.images),
            "annotations": str(self.annotations),
            "calibration_images": str(self.calibration),
        }
        return CocoDataset(**(given | changes))

    def refusal(self, kind: type[BenchError] = DataError, **changes: Any) -> str:
        with pytest.raises(kind) as caught:
            self.open(**changes)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def place(tmp_path, write_picture) -> Place:
    here = Place(tmp_path)
    write_picture(here.images / "a.png", seed=1)
    write_picture(here.images / "b.png", seed=2)
    write_picture(here.calibration / "c.png", seed=3)
    here.write(CONTENT)
    return here


@pytest.fixture
def content() -> dict[str, Any]:
    return copy.deepcopy(CONTENT)


def test_a_good_file(place, write_picture):
    data = place.open(name="mine")
    assert (data.name, data.task) == ("mine", "detection")
    assert data.class_names == ("car", "zebra")  # by ascending id
    assert list(data.validation.names) == ["b.png", "a.png"]  # in the file's order
    expected = write_picture(place.images / "a.png", seed=1)
    np.testing.assert_array_equal(data.validation.image(1), expected)
    assert list(data.calibration.names) == ["c.png"]
    empty, full = data.boxes
    assert empty.boxes.shape == (0, 4)
    assert len(empty.labels) == len(empty.areas) == len(empty.crowd) == 0
    np.testing.assert_array_equal(full.boxes, [[1, 2, 4, 6], [0, 0, 8, 2]])
    np.testing.assert_array_equal(full.labels, [1, 0])
    np.testing.assert_array_equal(full.areas, [5, 16])  # COCO's own, or else the box's
    np.testing.assert_array_equal(full.crowd, [False, True])


def test_fingerprint(place, content, write_picture):
    before = place.open().fingerprint
    assert place.open().fingerprint == before
    write_picture(place.calibration / "d.png")
    more = place.open().fingerprint
    content["annotations"][0]["bbox"] = [1, 2, 3, 5]
    place.write(content)
    assert len({before, more, place.open().fingerprint}) == 3


# --- configuration --------------------------------------------------------------------------------


def test_for_detectors_only(place):
    text = place.refusal(ConfigError, task="classification")
    assert "the model is for classification" in text
    assert "dataset=imagefolder" in text


@pytest.mark.parametrize("key", ["images", "annotations", "calibration_images"])
def test_paths_that_are_not_given(place, key):
    assert f"needs dataset.{key}=PATH" in place.refusal(ConfigError, **{key: None})


def test_all_missing_paths_are_told_at_once(place):
    text = place.refusal(ConfigError, images=None, annotations="", calibration_images=None)
    assert text.count("=PATH") == 3


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["images", "annotations"])
def test_paths_that_are_not_there(place, key):
    text = place.refusal(**{key: "/nowhere/at/all"})
    assert "/nowhere/at/all does not exist" in text
    assert f"Check dataset.{key}" in text


def test_calibration_folder_that_is_not_there(place):
    data = place.open(calibration_images="/nowhere")
    with pytest.raises(
        DataError, match=r"/nowhere does not exist\. Check dataset\.calibration_ima"
    ):
        _ = data.calibration


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1, 2]", '"text"', "{}", '{"images": []}', b"\xff\xfe\xfa".decode("latin-1")],
)
def test_no_coco_file(place, text):
    place.write(text)
    assert "is not a COCO annotation file" in place.refusal()


@pytest.mark.parametrize("part", ["images", "categories", "annotations"])
def test_a_part_is_missing(place, content, part):
    del content[part]
    place.write(content)
    assert "needs images, annotations and categories" in place.refusal()


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("images", "id"),
        ("images", "file_name"),
        ("categories", "id"),
        ("categories", "name"),
        ("annotations", "image_id"),
        ("annotations", "category_id"),
        ("annotations", "bbox"),
    ],
)
def test_an_entry_lacks_a_field(place, content, part, key):
    del content[part][0][key]
    place.write(content)
    text = place.refusal()
    assert str(place.annotations) in text
    assert key in text


@pytest.mark.parametrize(
    ("part", "value"),
    [("images", ["a.png"]), ("annotations", [3]), ("categories", "car"), ("annotations", 3)],
)
def test_entries_of_another_kind(place, content, part, value):
    content[part] = value
    place.write(content)
    assert str(place.annotations) in place.refusal()


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, 4, 5], ["a", 1, 1, 1], None, 4])
def test_boxes_of_another_shape(place, content, box):
    for annotation in content["annotations"]:
        annotation["bbox"] = box
    place.write(content)
    assert str(place.annotations) in place.refusal()


def test_images_that_are_not_in_the_folder(place):
    (place.images / "b.png").unlink()
    text = place.refusal()
    assert "1 of the 2 images" in text
    assert "(first: b.png)" in text
    assert "belong together" in text


def test_annotations_of_an_unknown_image(place, content):
    content["annotations"][1]["image_id"] = 999
    place.write(content)
    assert "annotation 2 belongs to image 999" in place.refusal()


def test_annotations_of_an_unknown_category(place, content):
    content["annotations"][1]["category_id"] = 4
    place.write(content)
    assert "annotation 2 has category 4" in place.refusal()


def test_two_images_of_one_id(place, content):
    content["images"][0]["id"] = 7
    place.write(content)
    assert "two images under one id" in place.refusal()


def test_detection_has_no_labels(place):
    with pytest.raises(NotImplementedError):
        _ = place.open().labels


# --- classes of calibration images ----------------------------------------------------------------


def calibration_file(place: Place, **changes: Any) -> dict[str, str]:
    content = {
        "images": [{"id": 5, "file_name": "c.png"}, {"id": 6, "file_name": "other.png"}],
        "categories": CONTENT["categories"],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 5, "category_id": 90, "bbox": [1, 2, 3, 4]},
        ],
    }
    path = place.annotations.with_name("calibration.json")
    path.write_text(json.dumps(content | changes))
    return {"calibration_annotations": str(path)}


def test_calibration_classes(place):
    assert place.open(**calibration_file(place)).calibration_classes() == [{3, 90}]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": [{"id": 5, "file_name": "d.png"}]}, r"1 of the 1 .* \(first: c\.png\)"),
        ({"images": [{"id": 5}]}, r"calibration\.json lacks a field"),
        ({"annotations": []}, r"is not a COCO .* Check dataset\.calibration_annotations"),
    ],
)
def test_calibration_annotations_that_do_not_fit(place, changes, told):
    data = place.open(**calibration_file(place, **changes))
    with pytest.raises(DataError, match=told):
        data.calibration_classes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"id": 4, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, None]}]},
         r"calibration\.json: annotation 4 has the box"),
        ({"annotations": [{"id": 4, "image_id": 5, "category_id": 3}]},
         r"calibration\.json lacks a field.*bbox"),
        ({"annotations": [{"id": 4, "image_id": 5, "category_id": 4, "bbox": [1, 2, 3, 4]}]},
         r"annotation 4 has category 4, which annotations\.json does not list"),
        ({"categories": [{"id": 3, "name": "zebra"}, {"id": 90, "name": "car"}]},
         r"category 3 is 'zebra' in .*calibration\.json and 'car' in .*annotations\.json"),
        ({"images": [{"id": 5, "file_name": "c.png"}, {"id": 6, "file_name": "./c.png"}]},
         r"calibration\.json lists the image c\.png twice"),
        ({"images": [{"id": 5, "file_name": "d.png"}]}, r"1 of the 1 .* \(first: c\.png\)"),
    ],
)  # fmt: skip
def test_calibration_boxes_that_are_wrong(place, changes, message):
    data = place.open(**calibration_file(place, **changes))
    assert len(data.boxes) == 2  # which do not depend on them
    with pytest.raises(DataError, match=message):
        _ = data.calibration_boxes


def test_a_category_that_only_the_calibration_images_list(place):
    categories = [{"id": 1, "name": "none"}, *CONTENT["categories"]]
    data = place.open(**calibration_file(place, categories=categories))
    (target,) = data.calibration_boxes
    assert [data.class_names[label] for label in target.labels] == ["car", "zebra"]


def test_no_calibration_annotations(place):
    with pytest.raises(ConfigError, match=r"Add dataset\.calibration_annotations=FILE"):
        place.open().calibration_classes()
