"""The truth of calibration images: in their order, read when it is asked for, or None."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.coco import CocoDataset
from bench.data.dataset import BoxTarget
from bench.data.imagefolder import ImageFolderDataset
from bench.data.images import ImagesDataset
from bench.data.shapes import draw_picture, draw_scene, split_seed
from bench.data.shapes_dataset import ShapesDataset
from bench.data.voc import VocDataset
from bench.data.yolo import YoloDataset
from bench.errors import DataError

NAMES = ("c", "a", "b")
"""Of the images, in the order of lists and annotations. Listed by folder they are a, b, c."""
BOXES = {"a": (1, 2, 4, 6), "c": (0, 0, 8, 4)}
"""x, y, width, height; b shows nothing."""
WIDTH, HEIGHT = 16, 12


def write_coco(path: Path) -> None:
    content = {
        "images": [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate(NAMES)],
        "annotations": [
            {"id": i, "image_id": NAMES.index(name), "category_id": 5 + i, "bbox": box}
            for i, (name, box) in enumerate(BOXES.items())
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
    }
    path.write_text(json.dumps(content))


def write_yolo(folder: Path) -> None:
    folder.mkdir()
    for label, (name, (x, y, w, h)) in enumerate(BOXES.items()):
        values = ((x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT)
        (folder / f"{name}.txt").write_text(f"{label} {' '.join(map(str, values))}\n")


def write_voc(folder: Path) -> None:
    folder.mkdir()
    for name in NAMES:
        thing = ""
        if name in BOXES:
            x, y, w, h = BOXES[name]
            thing = f"<object><name>{name}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            thing += f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        (folder / f"{name}.xml").write_text(f"<annotation>{thing}</annotation>")


@pytest.fixture
def root(tmp_path: Path, write_picture: Callable[..., Any]) -> Path:
    """Every kind of dataset, where one folder of images serves both splits."""
    for seed, name in enumerate(NAMES):
        for folder in ("images", "JPEGImages", f"classes/{name}", "unlabelled/images"):
            write_picture(tmp_path / folder / f"{name}.png", seed, (HEIGHT, WIDTH))
    write_coco(tmp_path / "boxes.json")
    write_yolo(tmp_path / "labels")
    write_voc(tmp_path / "Annotations")
    (tmp_path / "data.yaml").write_text(
        "{val: val.txt, train: images, test: unlabelled/images, names: [cat, dog]}"
    )
    (tmp_path / "val.txt").write_text("".join(f"images/{name}.png\n" for name in NAMES))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for split, names in (("val", NAMES), ("train", sorted(NAMES))):
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
    (tmp_path / "labels.csv").write_text("c.png,4\na.png,0\nb.png,2\n")
    return tmp_path


Open = Callable[..., Any]


def open_coco(root: Path, calibration: str | None = "boxes.json") -> CocoDataset:
    images, file = str(root / "images"), str(root / "boxes.json")
    return CocoDataset("detection", images, file, images, calibration and str(root / calibration))


def open_yolo(root: Path, split: str = "train") -> YoloDataset:
    return YoloDataset("detection", str(root / "data.yaml"), calibration_split=split)


def open_voc(root: Path, calibration_root: str | None = None) -> VocDataset:
    return VocDataset("detection", str(root), calibration_root, classes=NAMES)


def open_folders(root: Path, calibration_root: str = "classes") -> ImageFolderDataset:
    return ImageFolderDataset("classification", str(root / "classes"), str(root / calibration_root))


def open_label_file(root: Path, calibration_root: str = "images") -> ImageFolderDataset:
    return ImageFolderDataset(
        "classification", str(root / "images"), str(root / calibration_root),
        str(root / "labels.csv"), 5,
    )  # fmt: skip


def assert_same_boxes(one: BoxTarget, other: BoxTarget) -> None:
    for name in ("boxes", "labels", "areas", "crowd"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


@pytest.mark.parametrize("open_dataset", [open_coco, open_yolo, open_voc])
def test_boxes_are_those_of_the_same_validation_images(open_dataset: Open, root: Path) -> None:
    data = open_dataset(root)
    names = [Path(name).stem for name in data.calibration.names]
    assert names == sorted(NAMES)
    validation = dict(zip((Path(n).stem for n in data.validation.names), data.boxes, strict=True))
    assert len(data.calibration_boxes) == len(names)
    for name, target in zip(names, data.calibration_boxes, strict=True):
        assert_same_boxes(target, validation[name])
    expected = [[1, 2, 5, 8], [0, 0, 8, 4]]
    np.testing.assert_allclose(np.concatenate([t.boxes for t in data.calibration_boxes]), expected)
    assert data.calibration_labels is None
    assert [len(shown) for shown in data.calibration_classes()] == [1, 0, 1]


@pytest.mark.parametrize(("open_dataset", "labels"), [(open_folders, [0, 1, 2]),
                                                      (open_label_file, [0, 2, 4])])  # fmt: skip
def test_labels_are_those_of_the_same_validation_images(
    open_dataset: Open, labels: list[int], root: Path
) -> None:
    data = open_dataset(root)
    assert [Path(name).stem for name in data.calibration.names] == sorted(NAMES)
    validation = dict(zip(data.validation.names, data.labels.tolist(), strict=True))
    assert data.calibration_labels.tolist() == labels
    assert labels == [validation[name] for name in data.calibration.names]
    assert data.calibration_labels.dtype == np.int64
    assert data.calibration_boxes is None


def test_scenes_and_pictures_are_drawn_with_their_truth() -> None:
    data = ShapesDataset("detection", 2, 3, calibration_domain="night")
    for index, target in enumerate(data.calibration_boxes or ()):
        scene = draw_scene(split_seed("calibration", index), domain="night")
        np.testing.assert_array_equal(target.boxes, scene.boxes)
        np.testing.assert_array_equal(target.labels, scene.labels)
    assert len(data.calibration_boxes or ()) == 3
    assert data.calibration_labels is None
    pictures = ShapesDataset("classification", 2, 3)
    expected = [draw_picture(split_seed("calibration", index))[1] for index in range(3)]
    assert pictures.calibration_labels is not None
    assert pictures.calibration_labels.tolist() == expected
    assert pictures.calibration_labels.dtype == np.int64
    assert pictures.calibration_boxes is None


@pytest.mark.parametrize(
    "open_dataset",
    [
        lambda root: open_coco(root, None),
        lambda root: open_yolo(root, "test"),
        lambda root: open_voc(root, str(unlabelled_voc(root))),
        lambda root: open_folders(root, "images"),
        lambda root: open_folders(root, "."),
        lambda root: open_label_file(root, "classes"),
        lambda root: ImagesDataset("detection", str(root / "images"), str(root / "images"), 3),
        lambda root: ImagesDataset("classification", str(root / "images"), str(root / "images"), 3),
    ],
    ids=["coco", "yolo", "voc", "loose", "other folders", "label file", "boxes", "labels"],
)
def test_none_where_nothing_is_labelled(open_dataset: Open, root: Path) -> None:
    data = open_dataset(root)
    assert data.calibration_boxes is None
    assert data.calibration_labels is None
    assert len(data.calibration) >= 3


def unlabelled_voc(root: Path) -> Path:
    """The same images and lists in a folder without annotations."""
    other = root / "unlabelled"
    for name in ("JPEGImages", "ImageSets"):
        (other / name).symlink_to(root / name)
    return other


def test_folders_that_lack_a_class_have_the_same_indices(
    root: Path, write_picture: Callable[..., Any]
) -> None:
    for name in ("c/x.png", "b/deep/y.png"):
        write_picture(root / "calib" / name)
    data = open_folders(root, "calib")
    assert data.calibration_labels is not None
    assert data.calibration_labels.tolist() == [1, 2]


def break_coco(root: Path) -> str:
    (root / "calibration.json").write_text("{")
    return "calibration.json"


def break_yolo(root: Path) -> str:
    (root / "labels" / "d.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    return "labels/d.txt, line 1"


def break_voc(root: Path) -> str:
    (root / "Annotations" / "d.xml").write_text("<annotation>")
    return "d.xml"


@pytest.mark.parametrize(
    ("open_dataset", "spoil"),
    [
        (lambda root: open_coco(root, "calibration.json"), break_coco),
        (lambda root: open_coco(root, "nowhere.json"), lambda root: "nowhere.json does not exist"),
        (open_yolo, break_yolo),
        (open_voc, break_voc),
        (open_voc, lambda root: "d.xml does not exist"),
    ],
    ids=["coco", "no coco", "yolo", "voc", "no voc"],
)
def test_broken_labels_of_calibration_images_stop_nothing_else(
    open_dataset: Open, spoil: Callable[[Path], str], root: Path, write_picture: Callable[..., Any]
) -> None:
    for folder in ("images", "JPEGImages"):  # an image that only calibrates
        write_picture(root / folder / "d.png", 9)
    (root / "ImageSets" / "Main" / "train.txt").write_text("d\na\n")
    message = spoil(root)
    data = open_dataset(root)
    assert len(data.boxes) == len(data.validation) == 3
    assert data.fingerprint and data.calibration.image(0).shape == (HEIGHT, WIDTH, 3)
    for _ in range(2):  # and no second look takes them for good
        with pytest.raises(DataError) as caught:
            _ = data.calibration_boxes
        assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("open_dataset", [open_coco, open_yolo, open_voc])
def test_labels_are_read_once(open_dataset: Open, root: Path) -> None:
    data = open_dataset(root)
    assert data.calibration_boxes is data.calibration_boxes
