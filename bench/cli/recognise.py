"""What a path to images is: labelled as COCO, as Ultralytics, by folders or a file, or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.dataset import TaskName
from bench.data.files import SUFFIXES
from bench.data.label_file import read_label_file
from bench.data.yaml_file import read_yaml
from bench.errors import BenchError, ConfigError, DataError

_LARGEST_JSON = 2**29
_CALIBRATION = ("calib", "calibration", "train", "train2017")


@dataclass(frozen=True)
class Recognised:
    """The keys that say where images and labels lie, and what was seen, in one phrase.

    ``remark`` tells why labels were not used, or where calibration images were taken from.
    """

    keys: Mapping[str, object]
    what: str
    labelled: bool
    remark: str = ""


def recognise(
    images: Path,
    task: TaskName,
    n_classes: int | None,
    annotations: Path | None = None,
    labels: Path | None = None,
    calibration: Path | None = None,
) -> Recognised:
    """Look at a folder of images, or at the YAML of an Ultralytics dataset.

    ``annotations`` is COCO's JSON, ``labels`` a file of names and classes; both are looked for
    beside the images. Raises ConfigError or DataError for what is not there, or not for the task.
    """
    if images.is_file():
        return _yolo(images)
    if not images.is_dir():
        raise DataError(f"{images} does not exist", "Give a folder of images, or a data.yaml")
    calibration_folder, note = calibration or _beside(images), ""
    if calibration_folder is None:
        calibration_folder, note = (
            images,
            "calibration images: the same ones, which flatters INT8; give others",
        )
    if task == "detection":
        recognised = _detection(images, calibration_folder, annotations)
    else:
        recognised = _classification(images, calibration_folder, labels, n_classes)
    if recognised.keys.get("dataset") != "yolo" and note:
        remark = "; ".join(filter(None, (recognised.remark, note)))
        return replace(recognised, remark=remark)
    return recognised


def _detection(images: Path, calibration: Path, annotations: Path | None) -> Recognised:
    file = annotations or _annotations_beside(images)
    if file is not None:
        keys = {
            "dataset": "coco", "dataset.images": images, "dataset.annotations": file,
            "dataset.calibration_images": calibration,
        }  # fmt: skip
        return Recognised(keys, f"COCO annotations ({file.name})", True)
    for folder in (images, *list(images.parents)[:2]):
        for file_of_yolo in sorted(folder.glob("*.yaml")):
            if _is_yolo(file_of_yolo):
                return _yolo(file_of_yolo)
    return _unlabelled(images, calibration, "")


def _classification(
    images: Path, calibration: Path, labels: Path | None, n_classes: int | None
) -> Recognised:
    file = labels or _labels_beside(images)
    if file is not None:
        keys = {
            "dataset": "imagefolder", "dataset.root": images, "dataset.labels": file,
            "dataset.calibration_root": calibration,
        }  # fmt: skip
        return Recognised(keys, f"a file of labels ({file.name})", True)
    folders = sorted(path.name for path in images.iterdir() if path.is_dir() and _has_images(path))
    if folders and folders != ["images"]:
        if n_classes not in (None, len(folders)):
            reason = f"{len(folders)} class folders are not the model's {n_classes} classes"
            return _unlabelled(images, calibration, reason)
        keys = {
            "dataset": "imagefolder", "dataset.root": images,
            "dataset.calibration_root": calibration,
        }  # fmt: skip
        return Recognised(keys, f"{len(folders)} class folders", True)
    return _unlabelled(images, calibration, "")


def _unlabelled(images: Path, calibration: Path, reason: str) -> Recognised:
    keys = {
        "dataset": "images", "dataset.root": images, "dataset.calibration_root": calibration
    }  # fmt: skip
    return Recognised(keys, "no labels", False, reason)


def _yolo(file: Path) -> Recognised:
    if not _is_yolo(file):
        raise ConfigError(
            f"{file} is not the YAML of an Ultralytics dataset (it needs val and names)",
            "Give a folder of images, or a data.yaml",
        )
    return Recognised({"dataset": "yolo", "dataset.file": file}, f"YOLO labels ({file.name})", True)


def _is_yolo(file: Path) -> bool:
    if file.suffix.lower() not in (".yaml", ".yml"):
        return False
    try:
        content = read_yaml(file, "dataset file", "the path")
    except BenchError:
        return False
    return isinstance(content, dict) and bool(content.get("val")) and "names" in content


def _annotations_beside(images: Path) -> Path | None:
    """A JSON file with images and annotations, in the folder or in the one above it."""
    for folder in (images, images.parent):
        for file in sorted(folder.glob("*.json")):
            if file.stat().st_size > _LARGEST_JSON:
                continue
            try:
                content = json.loads(file.read_bytes())
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict) and {"images", "annotations"} <= set(content):
                return file
    return None


def _labels_beside(images: Path) -> Path | None:
    """A file of labels that names these images, in the folder or in the one above it."""
    for folder in (images, images.parent):
        for name in ("labels.csv", "labels.txt", "val.csv", "val.txt"):
            file = folder / name
            if file.is_file():
                try:
                    read_label_file(file, images, 10**5)
                except BenchError:
                    continue
                return file
    return None


def _beside(images: Path) -> Path | None:
    """Where calibration images usually lie: val/images is beside calib/images, val beside calib."""
    for up, tail in ((images.parent, Path()), (images.parent.parent, Path(images.name))):
        for name in _CALIBRATION:
            folder = up / name / tail
            if folder.is_dir() and folder != images and folder.parent != images:
                return folder
    return None


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))
