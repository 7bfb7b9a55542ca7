"""Ultralytics' dataset files: read as Ultralytics reads them, and mistakes told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.yolo import YoloDataset, label_file, read_labels
from bench.errors import BenchError, ConfigError, DataError

YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"


class Place:
    """A dataset of two validation images, 16 wide and 12 high, one of them without objects."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root / "data.yaml"

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def label(self, name: str, text: str) -> None:
        path = self.root / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def open(self, **changes: Any) -> YoloDataset:
        return YoloDataset(**({"task": "detection", "file": str(self.file)} | changes))

    def refusal(self, kind: type[BenchError] = DataError, **changes: Any) -> str:
        with pytest.raises(kind) as caught:
            _ = self.open(**changes).fingerprint
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def place(tmp_path, write_picture) -> Place:
    here = Place(tmp_path)
    for seed, name in enumerate(("val/a.png", "val/b.jpg", "train/c.png", "train/d.png")):
        write_picture(tmp_path / "images" / name, seed)
    here.write(YAML)
    here.label("val/a.txt", "1 0.5 0.5 0.25 0.5\n0 0 0 1 0 0.5 0.25\n")
    here.label("train/c.txt", "0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n")
    return here


def test_a_good_file(place):
    data = place.open()
    assert (data.name, data.task, data.class_names) == ("yolo", "detection", ("cat", "dog"))
    assert list(data.validation.names) == ["images/val/a.png", "images/val/b.jpg"]
    assert list(data.calibration.names) == ["images/train/c.png", "images/train/d.png"]
    assert data.validation.image(0).shape == (12, 16, 3)
    full, empty = data.boxes
    np.testing.assert_allclose(full.boxes, [[6, 3, 10, 9], [0, 0, 16, 3]])  # the second a polygon
    np.testing.assert_array_equal(full.labels, [1, 0])
    np.testing.assert_allclose(full.areas, [24, 48])
    assert not full.crowd.any()
    assert empty.boxes.shape == (0, 4)
    assert data.calibration_classes() == [{0, 1}, frozenset()]


def test_splits_can_be_chosen(place):
    data = place.open(split="train", calibration_split="val")
    assert [len(target.labels) for target in data.boxes] == [2, 0]
    assert data.calibration.names[0] == "images/val/a.png"
    assert "dataset.split=test is not in" in place.refusal(ConfigError, split="test")


@pytest.mark.parametrize("names", ["[cat, dog]", "{0: cat, 1: dog}"])
def test_names_as_list_or_mapping(place, names):
    place.write(f"train: images/train\nval: images/val\nnc: 2\nnames: {names}\n")
    assert place.open().class_names == ("cat", "dog")


def test_only_a_count_of_classes(place):
    place.write("train: images/train\nval: images/val\nnc: 2\n")
    assert place.open().class_names == ("0", "1")


def test_lists_of_images_and_several_folders(place, write_picture, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside" / "images" / "z.png"
    write_picture(outside)
    (tmp_path / "val.txt").write_text(f"./images/val/b.jpg\n\nimages/val/a.png\n{outside}\n")
    place.write("val: val.txt\ntrain: [images/train, images/val]\nnames: [cat, dog]\n")
    data = place.open()
    assert {Path(name).name for name in data.validation.names} == {"a.png", "b.jpg", "z.png"}
    assert sorted(len(target.labels) for target in data.boxes) == [0, 0, 2]
    assert len(data.calibration) == 4


def test_where_the_images_are(place, tmp_path, monkeypatch):
    place.write(YAML.replace("path: .", f"path: {tmp_path}"))
    assert len(place.open().boxes) == 2
    place.write(YAML.replace("path: .", "path: ../nowhere"))
    assert "dataset.root=FOLDER" in place.refusal()
    assert len(place.open(root=str(tmp_path)).boxes) == 2
    place.write(YAML.replace("path: .\n", "").replace("images/", "../images/"))  # Roboflow's way
    assert len(place.open().boxes) == 2
    monkeypatch.chdir(tmp_path)
    place.write(YAML)
    assert len(place.open(file="data.yaml").boxes) == 2


def test_values_are_not_interpolated(place):
    place.write(YAML.replace("cat", "'${cat}'"))
    assert place.open().class_names == ("${cat}", "dog")


def test_the_last_folder_of_images_becomes_labels():
    assert label_file(Path("/images/x/images/val/a.b.jpg")) == Path("/images/x/labels/val/a.b.txt")
    assert label_file(Path("/flat/a.jpg")) == Path("/flat/a.txt")


def test_the_same_line_twice_is_one_object(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1 1\n0 0.5 0.5 1 1\n\n1 0.5 0.5 1 1\n")
    assert len(read_labels(tmp_path / "a.txt", 2)) == 2


def test_fingerprint(place, write_picture):
    keys = [place.open().fingerprint, place.open().fingerprint]
    assert keys[0] == keys[1]
    place.label("val/a.txt", "1 0.5 0.5 0.25 0.25\n")
    keys.append(place.open().fingerprint)
    write_picture(place.root / "images" / "train" / "e.png")
    keys.append(place.open().fingerprint)
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0 0.5 0.5 0.5", "4 numbers are neither"),
        ("0 0.5 0.5 0.5 0.5 0.9", "6 numbers are neither"),
        ("0 40 30 20 10", "not in 0 to 1"),
        ("0 -0.1 0.5 0.5 0.5", "not in 0 to 1"),
        ("0 nan 0.5 0.5 0.5", "not in 0 to 1"),
        ("2 0.5 0.5 0.5 0.5", "class 2 is not in 0 to 1"),
        ("0.5 0.5 0.5 0.5 0.5", "class 0.5 is not in"),
        ("cat 0.5 0.5 0.5 0.5", "'cat'"),
    ],
)
def test_a_bad_label(place, line, told):
    place.label("val/b.txt", f"\n{line}\n")
    text = place.refusal()
    assert told in text
    assert "labels/val/b.txt, line 2" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "not an Ultralytics dataset file"),
        ("a: [", "is not a YAML file"),
        ("val: images/val\ntrain: images/train\n", "has no names"),
        ("names: [a]\nnc: 2\nval: images/val\n", "1 names but nc: 2"),
        ("names: {1: a, 2: b}\nval: images/val\n", "do not count from 0 to 1"),
        ("names: [a]\nval: nowhere\n", "nowhere does not exist"),
        ("names: [a]\nval: nowhere.txt\n", "nowhere.txt does not exist"),
    ],
)
def test_a_bad_file(place, text, told):
    place.write(text)
    assert told in place.refusal()


def test_what_is_not_there(place):
    assert "needs dataset.file=PATH" in place.refusal(ConfigError, file=None)
    assert "Check dataset.file" in place.refusal(file="/nowhere.yaml")
    assert "the model is for class" in place.refusal(ConfigError, task="classification")
    (place.root / "val.txt").write_text("images/val/lost.png\n")
    place.write(YAML.replace("images/val", "val.txt"))
    assert "1 of the 1 images" in place.refusal()


def test_no_label_at_all(place):
    (place.root / "labels" / "val" / "a.txt").unlink()
    text = place.refusal()
    assert "none of the 2 images has a label file" in text
    assert "labels/val/a.txt" in text


def test_detection_has_no_labels(place):
    with pytest.raises(NotImplementedError):
        _ = place.open().labels
