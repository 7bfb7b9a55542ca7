"""Every dataset that lies in files is told apart by what the files contain, and by nothing else."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.coco import CocoDataset
from bench.data.contents import SETTLED_NS, ContentHashes
from bench.data.imagefolder import ImageFolderDataset
from bench.data.images import ImagesDataset
from bench.data.voc import VocDataset
from bench.data.yolo import YoloDataset

XML = "<annotation><object><name>cat</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax>"
XML += "<ymax>9</ymax></bndbox></object></annotation>"
BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25}
COCO = {
    "images": [{"id": i, "file_name": f"{name}.bmp"} for i, name in enumerate("ab", 1)],
    "annotations": [BOX],
    "categories": [{"id": 1, "name": "cat"}],
}

Open = Callable[[Path, ContentHashes], Any]
KINDS: dict[str, Open] = {
    "coco": lambda root, hashes: CocoDataset(
        "detection", f"{root}/JPEGImages", f"{root}/boxes.json", f"{root}/calib", hashes=hashes
    ),
    "yolo": lambda root, hashes: YoloDataset("detection", f"{root}/data.yaml", hashes=hashes),
    "voc": lambda root, hashes: VocDataset(
        "detection", str(root), classes=("cat",), hashes=hashes
    ),
    "class folders": lambda root, hashes: ImageFolderDataset(
        "classification", f"{root}/classes", f"{root}/calib", hashes=hashes
    ),
    "label file": lambda root, hashes: ImageFolderDataset(
        "classification", f"{root}/JPEGImages", f"{root}/calib", f"{root}/labels.csv", 3,
        hashes=hashes,
    ),
    "images": lambda root, hashes: ImagesDataset(
        "detection", f"{root}/JPEGImages", f"{root}/calib", 3, hashes=hashes
    ),
}  # fmt: skip
LABELS = {
    "coco": ("boxes.json", "[1, 1, 5, 5]", "[1, 1, 6, 5]"),
    "yolo": ("labels/a.txt", "0 0.5", "0 0.4"),
    "voc": ("Annotations/a.xml", "<xmin>1", "<xmin>2"),
    "label file": ("labels.csv", "a.bmp,1", "a.bmp,2"),
}
"""Of each kind whose labels lie in files: the file, what it says, and something else as long."""


@pytest.fixture
def root(tmp_path: Path, write_picture: Callable[..., Any]) -> Path:
    """One folder that is a dataset of every kind."""
    root = tmp_path / "here"
    pictures = ("JPEGImages/a", "JPEGImages/b", "calib/c", "classes/x/a", "classes/y/b",
                "images/a", "images/b", "train/images/c")  # fmt: skip
    for seed, name in enumerate(pictures):
        write_picture(root / f"{name}.bmp", seed)
    texts = {
        "boxes.json": json.dumps(COCO),
        "labels.csv": "a.bmp,1\nb.bmp,0\n",
        "data.yaml": "{val: images, train: train/images, names: [cat]}",
        "labels/a.txt": "0 0.5 0.5 0.1 0.1\n",
        "Annotations/a.xml": XML.format(1),
        "Annotations/b.xml": XML.format(3),
        "ImageSets/Main/val.txt": "a\nb\n",
        "ImageSets/Main/train.txt": "b\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def fingerprint(tmp_path: Path) -> Callable[[str, Path], str]:
    """As a new run asks for it, with hashes that the runs before remembered."""

    def ask(kind: str, root: Path) -> str:
        hashes = ContentHashes(tmp_path / "cache", clock=lambda: time.time_ns() + 2 * SETTLED_NS)
        return str(KINDS[kind](root, hashes).fingerprint)

    return ask


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    """Put something else of the same length into a file, and set its time back."""
    stat, content = path.stat(), path.read_bytes()
    assert len(old) == len(new)
    assert old in content
    time.sleep(0.02)  # longer than the file system's clock ticks
    path.write_bytes(content.replace(old, new, 1))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_elsewhere_is_the_same_data(kind, root, fingerprint, tmp_path):
    before = fingerprint(kind, root)
    shutil.copytree(root, tmp_path / "there")
    (tmp_path / "there" / "data.yaml").write_text(
        f"{{path: {tmp_path}/there, val: images, train: train/images, names: [cat]}}"
    )
    for path in (tmp_path / "there").rglob("*"):
        os.utime(path, (1, 1))
    assert fingerprint(kind, tmp_path / "there") == before == fingerprint(kind, root)


@pytest.mark.parametrize("kind", LABELS)
def test_labels_replaced_by_some_of_the_same_size_and_time(kind, root, fingerprint):
    before = fingerprint(kind, root)
    name, old, new = LABELS[kind]
    rewrite(root / name, old.encode(), new.encode())
    assert fingerprint(kind, root) != before


@pytest.mark.parametrize("split", ["validation", "calibration"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_replaced_by_one_of_the_same_size_and_time(kind, split, root, fingerprint):
    before = fingerprint(kind, root)
    samples = getattr(KINDS[kind](root, ContentHashes()), split)
    path = samples.path(0)
    content = path.read_bytes()
    rewrite(path, content[-4:], bytes(255 - value for value in content[-4:]))
    assert fingerprint(kind, root) != before
