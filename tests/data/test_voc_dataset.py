"""Pascal VOC: boxes from 1 on, difficult objects that count neither way, XML that harms nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.voc import CLASSES, VocDataset
from bench.errors import BenchError, ConfigError, DataError
from bench.evaluation.coco_map import evaluate_boxes
from bench.model.detections import Detections


def thing(name: str, box: tuple[float, ...], extra: str = "") -> str:
    sides = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box))  # noqa: B905
    return f"<object><name>{name}</name>{extra}<bndbox>{sides}</bndbox></object>"


class Place:
    """Two validation images and one to calibrate on."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def annotate(self, name: str, *things: str, head: str = "") -> None:
        path = self.root / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{head}<annotation>{''.join(things)}</annotation>")

    def split(self, name: str, *lines: str) -> None:
        path = self.root / "ImageSets" / "Main" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")

    def open(self, **changes: Any) -> VocDataset:
        return VocDataset(**({"task": "detection", "root": str(self.root)} | changes))

    def refusal(self, kind: type[BenchError] = DataError, **changes: Any) -> str:
        with pytest.raises(kind) as caught:
            _ = self.open(**changes).boxes
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def place(tmp_path, write_picture) -> Place:
    here = Place(tmp_path)
    for seed, name in enumerate(("2.jpg", "1.png", "3.jpg")):
        write_picture(tmp_path / "JPEGImages" / name, seed)
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    here.annotate("1", thing("dog", (1, 2, 3, 4), part), thing("cat", (5, 5, 9.5, 9)))
    here.annotate("2", thing("person", (1, 1, 8, 8), "<difficult>1</difficult>"))
    here.annotate("3", thing("car", (1, 1, 8, 8)), thing("bus", (1, 1, 8, 8)))
    here.split("val", "2", "1  -1")
    here.split("train", "3")
    return here


def test_a_good_folder(place):
    data = place.open()
    assert data.class_names == CLASSES
    assert list(data.validation.names) == ["JPEGImages/2.jpg", "JPEGImages/1.png"]
    assert list(data.calibration.names) == ["JPEGImages/3.jpg"]
    difficult, plain = data.boxes
    np.testing.assert_allclose(plain.boxes, [[0, 1, 3, 4], [4, 4, 9.5, 9]])
    assert [data.class_names[label] for label in plain.labels] == ["dog", "cat"]
    np.testing.assert_allclose(plain.areas, [9, 27.5])
    assert (difficult.areas < 0).all()
    assert not difficult.crowd.any()
    assert data.calibration_classes() == [{CLASSES.index("car"), CLASSES.index("bus")}]


def test_a_difficult_object_counts_neither_way(place):
    """A detection on it is no false positive, a missed one no loss; overlap is the ordinary one."""
    place.annotate("2", thing("cat", (1, 1, 8, 8), "<difficult>1</difficult>"))
    targets = place.open(classes=("cat", "dog")).boxes

    def score(*boxes: list[float]) -> float:
        found = [
            Detections(np.float32([*boxes]).reshape(-1, 4), np.float32([0.9] * len(boxes)),
                       np.zeros(len(boxes), np.int64)),
            Detections(np.float32([[4, 4, 9.5, 9], [0, 1, 3, 4]]), np.float32([0.5, 0.5]),
                       np.array([0, 1])),
        ]  # fmt: skip
        return evaluate_boxes(targets, found, 2).map50_95

    assert score() == pytest.approx(1)
    assert score([0, 0, 8, 8]) == pytest.approx(1)
    assert score([0, 0, 3, 3]) < 1  # inside it, as a crowd would forgive: IoU is 9/64


def test_classes_of_ones_own(place):
    data = place.open(classes=("person", "dog", "cat"))
    assert data.boxes[1].labels.tolist() == [1, 2]
    text = place.refusal(classes=("person", "cat"))
    assert "1.xml has an object of class 'dog'" in text
    assert "dataset.classes" in text


def test_calibration_images_elsewhere(place, tmp_path, write_picture):
    other = Place(tmp_path / "2007")
    write_picture(other.root / "JPEGImages" / "9.jpg")
    other.split("trainval", "9")
    data = place.open(calibration_root=str(other.root), calibration_split="trainval")
    assert data.calibration.root == other.root  # without annotations, which nobody asks for
    with pytest.raises(DataError, match=r"9\.xml does not exist"):
        data.calibration_classes()


def test_fingerprint(place):
    keys = [place.open().fingerprint, place.open().fingerprint]
    assert keys[0] == keys[1]
    place.annotate("1", thing("dog", (1, 2, 3, 44)))
    keys += [place.open().fingerprint, place.open(classes=("dog", "person")).fingerprint]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("box", [("a", 1, 2, 3), ("", 1, 2, 3), (5, 1, 2, 3), ("nan", 1, 2, 3)])
def test_a_bad_box(place, box):
    place.annotate("1", thing("dog", box))
    text = place.refusal()
    assert "1.xml: an object of class 'dog' has no box" in text


def test_entities_are_refused(place):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    place.annotate("1", "&b;", head=bomb)
    assert "1.xml declares entities" in place.refusal()


@pytest.mark.parametrize("text", ["", "<annotation>", "no xml", "<annotation>&b;</annotation>"])
def test_no_xml(place, text):
    (place.root / "Annotations" / "1.xml").write_text(text)
    assert "1.xml is not valid XML" in place.refusal()


def test_what_is_not_there(place):
    assert "needs dataset.root=PATH" in place.refusal(ConfigError, root=None)
    assert "has no folder JPEGImages" in place.refusal(root="/nowhere")
    assert "the model is for class" in place.refusal(ConfigError, task="classification")
    assert "test.txt does not exist" in place.refusal(split="test")
    place.split("val", "1", "77")
    assert "1 of the 2 images" in place.refusal()
    place.split("val")
    assert "lists no images" in place.refusal()
    (place.root / "Annotations" / "1.xml").write_text("<html></html>")
    place.split("val", "1")
    assert "not a VOC annotation but <html>" in place.refusal()
