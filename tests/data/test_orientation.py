"""Pictures that EXIF says to turn: each form of dataset reads them as its annotations mean them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags
from PIL import Image as Pil

from bench.data.coco import CocoDataset
from bench.data.files import FileSamples, list_images
from bench.data.imagefolder import ImageFolderDataset
from bench.data.images import ImagesDataset
from bench.data.voc import VocDataset
from bench.data.yolo import YoloDataset

WIDE = (24, 16)
"""Width and height as stored."""
RED, BLUE = (200, 0, 0), (0, 0, 200)


def write_marked(path: Path, mark: int | bytes) -> None:
    """Its upper left eighth is red as stored; ``mark`` is the orientation, or all of the EXIF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Pil.new("RGB", WIDE, BLUE)
    picture.paste(RED, (0, 0, 8, 8))
    exif = Pil.Exif()
    exif[ExifTags.Base.Orientation] = mark
    given = mark if isinstance(mark, bytes) else exif
    picture.save(path, quality=95, subsampling=0, exif=given)


def red_corner(image: np.ndarray) -> str:
    """Where the red is: what a reader would see."""
    vertical = {"upper": slice(0, 6), "lower": slice(-6, None)}
    horizontal = {"left": slice(0, 6), "right": slice(-6, None)}
    found = [
        f"{v} {h}" for v, rows in vertical.items() for h, columns in horizontal.items()
        if image[rows, columns, 0].mean() > 100
    ]  # fmt: skip
    (corner,) = found
    return corner


# EXIF 2.32, section 4.6.4.A, Orientation: where the 0th row and the 0th column are to be seen.
SEEN = {
    1: "upper left", 2: "upper right", 3: "lower right", 4: "lower left",
    5: "upper left", 6: "upper right", 7: "lower right", 8: "lower left",
}  # fmt: skip


@pytest.mark.parametrize("orientation", SEEN)
def test_upright_pictures_are_turned_and_others_are_not(orientation: int, tmp_path: Path) -> None:
    write_marked(tmp_path / "a.jpg", orientation)
    stored = list_images(tmp_path, "x")
    upright = list_images(tmp_path, "x", upright=True)
    assert red_corner(stored.image(0)) == "upper left"
    assert red_corner(upright.image(0)) == SEEN[orientation]
    assert red_corner(cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1]) == SEEN[orientation]
    assert stored.size(0) == WIDE
    for samples in (stored, upright):  # the head of a file says what its pixels will
        height, width, _ = samples.image(0).shape
        assert samples.size(0) == (width, height)
    assert (upright.size(0) == WIDE) == (orientation < 5)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_a_file_of_another_format_has_the_size_of_its_pixels(name: str, tmp_path: Path) -> None:
    write_marked(tmp_path / name, 6)
    upright = list_images(tmp_path, "x", upright=True)
    assert red_corner(upright.image(0)) == "upper right"
    assert upright.size(0) == (16, 24)
    stored = list_images(tmp_path, "x")
    height, width, _ = stored.image(0).shape
    assert stored.size(0) == (width, height)


def test_odd_exif_beside_an_orientation_turns_all_the_same(tmp_path: Path) -> None:
    """Text stands where a number should: Pillow reads it, and could not write it again."""
    exif = Pil.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.ResolutionUnit] = 6, 2
    number, text = (struct.pack(">HH", ExifTags.Base.ResolutionUnit, kind) for kind in (3, 2))
    content = exif.tobytes()
    assert content.count(number) == 1
    write_marked(tmp_path / "a.jpg", content.replace(number, text))
    samples = list_images(tmp_path, "x", upright=True)
    assert red_corner(samples.image(0)) == "upper right"
    assert samples.size(0) == (16, 24)


def test_what_is_turned_is_no_longer_the_same_data(tmp_path: Path) -> None:
    write_marked(tmp_path / "a.jpg", 6)
    names = ["a.jpg"]
    kinds = [
        FileSamples(tmp_path, names),
        FileSamples(tmp_path, names, upright=True),
        FileSamples(tmp_path, names, sizes=[(16, 24)]),
        FileSamples(tmp_path, names, sizes=[(24, 16)]),
    ]
    assert len({samples.fingerprint for samples in kinds}) == 4


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_is_none_turns_nothing(orientation: int, tmp_path: Path) -> None:
    write_marked(tmp_path / "a.jpg", orientation)
    assert red_corner(list_images(tmp_path, "x", upright=True).image(0)) == "upper left"


def test_exif_that_is_no_exif_turns_nothing(tmp_path: Path) -> None:
    Pil.new("RGB", WIDE, BLUE).save(tmp_path / "a.jpg", exif=b"Exif\0\0no TIFF at all, surely")
    samples = list_images(tmp_path, "x", upright=True)
    assert samples.image(0).shape == (16, 24, 3)
    assert samples.size(0) == WIDE


@pytest.mark.parametrize("orientation", SEEN)
def test_boxes_of_a_turned_picture_lie_on_the_stored_one(orientation: int, tmp_path: Path) -> None:
    write_marked(tmp_path / "a.jpg", orientation)
    upright = list_images(tmp_path, "x", upright=True)
    red = np.float32([red_box(upright.image(0)), (0, 0, *upright.size(0))])
    boxes = upright.to_stored(0, red)
    np.testing.assert_array_equal(boxes, [(0, 0, 8, 8), (0, 0, *WIDE)])
    assert boxes.dtype == np.float32


def red_box(image: np.ndarray) -> tuple[int, ...]:
    """x1 y1 x2 y2 of what is red."""
    rows, columns = np.nonzero(image[..., 0] > 100)
    return tuple(map(int, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))


def coco(folder: Path, box: tuple[int, ...] = (0, 0, 8, 8), **size: int) -> CocoDataset:
    """``box``: x, y, width, height."""
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", **size}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box}],
        "categories": [{"id": 1, "name": "red"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    boxes = str(folder / "boxes.json")
    return CocoDataset("detection", str(folder), boxes, str(folder), boxes)


def test_coco_turns_what_was_annotated_turned(tmp_path: Path) -> None:
    write_marked(tmp_path / "a.jpg", 6)
    assert red_corner(coco(tmp_path, width=24, height=16).validation.image(0)) == "upper left"
    turned = coco(tmp_path, width=16, height=24)
    assert red_corner(turned.validation.image(0)) == "upper right"
    assert turned.validation.image(0).shape == (24, 16, 3)
    for unsaid in ({}, {"width": 16}, {"width": 99, "height": 98}):  # nothing tells: as stored
        assert red_corner(coco(tmp_path, **unsaid).validation.image(0)) == "upper left"
    assert red_corner(turned.calibration.image(0)) == "upper left"


def test_coco_takes_a_picture_that_would_keep_its_size_as_stored(tmp_path: Path) -> None:
    write_marked(tmp_path / "a.jpg", 3)
    assert red_corner(coco(tmp_path, width=24, height=16).validation.image(0)) == "upper left"


@pytest.mark.parametrize("size", [(16, 24), WIDE, None])
def test_coco_s_boxes_lie_on_calibration_images_as_they_are_stored(size, tmp_path: Path) -> None:
    """The red is 8 x 8: in the upper right of a picture turned, in the upper left of it stored."""
    write_marked(tmp_path / "a.jpg", 6)
    box = (8, 0, 8, 8) if size == (16, 24) else (0, 0, 8, 8)
    data = coco(
        tmp_path, box, **(dict(zip(("width", "height"), size, strict=True)) if size else {})
    )
    (shown,), (stored,) = data.boxes, data.calibration_boxes
    np.testing.assert_array_equal(shown.boxes, [red_box(data.validation.image(0))])
    np.testing.assert_array_equal(stored.boxes, [red_box(data.calibration.image(0))])
    np.testing.assert_array_equal(stored.areas, [64])


def test_yolo_labels_are_of_the_turned_picture(tmp_path: Path) -> None:
    """As Ultralytics reads it: the red lies in the upper right of a picture 16 wide, 24 high."""
    write_marked(tmp_path / "images" / "a.jpg", 6)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.75 0.16666667 0.5 0.33333333\n")
    (tmp_path / "d.yaml").write_text("{train: images, val: images, names: [red]}")
    data = YoloDataset("detection", str(tmp_path / "d.yaml"))
    (target,) = data.boxes
    np.testing.assert_allclose(target.boxes, [[8, 0, 16, 8]], atol=1e-4)
    for samples in (data.validation, data.calibration):
        image = samples.image(0)
        x1, y1, x2, y2 = target.boxes[0].round().astype(int)
        assert image[y1:y2, x1:x2, 0].mean() > 150
        assert image[..., 0].sum() < 1.3 * image[y1:y2, x1:x2, 0].sum()


def test_classes_and_voc_are_of_the_stored_picture(tmp_path: Path) -> None:
    write_marked(tmp_path / "JPEGImages" / "a.jpg", 6)
    sets = tmp_path / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    for split in ("train", "val"):
        (sets / f"{split}.txt").write_text("a\n")
    voc = VocDataset("detection", str(tmp_path))
    folder = ImageFolderDataset("classification", str(tmp_path), str(tmp_path))
    for data in (voc, folder):
        for samples in (data.validation, data.calibration):
            assert red_corner(samples.image(0)) == "upper left"


@pytest.mark.parametrize(
    ("task", "corner"), [("detection", "upper right"), ("classification", "upper left")]
)
def test_images_without_labels_are_read_as_the_task_s_tools_do(
    task: Any, corner: str, tmp_path: Path
) -> None:
    write_marked(tmp_path / "a.jpg", 6)
    data = ImagesDataset(task, str(tmp_path), str(tmp_path), 3)
    assert red_corner(data.validation.image(0)) == corner
    assert red_corner(data.calibration.image(0)) == corner
