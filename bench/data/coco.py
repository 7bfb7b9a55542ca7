"""COCO-style detection data: a folder of images and one JSON file of annotations."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.cache import content_key, hash_file
from bench.data.contents import ContentHashes
from bench.data.dataset import BoxTarget, TaskName, require_task, require_text
from bench.data.files import FileSamples, Size, exists, list_images, require_file
from bench.errors import ConfigError, DataError

Entry = Mapping[str, Any]
"""An image, an annotation or a category, as the file lists it."""

MOST_PIXELS = 1e9
"""Beyond any coordinate or area in a picture; NaN is not below it."""


class CocoDataset:
    """Validation images with boxes, and calibration images from another folder.

    Class indices follow the ascending category ids, as every COCO model does. A picture that EXIF
    would turn is turned only if it then has the size that its annotations say; calibration images
    count as stored (as ``torchvision``'s ``CocoDetection`` reads all). They need
    ``calibration_annotations`` only where their boxes or classes are asked for. Raises
    ConfigError if a path is not given or the model is no detector, DataError if files are missing
    or do not match.
    """

    task: TaskName = "detection"
    calibration_labels = None

    def __init__(
        self,
        task: TaskName,
        images: str | None,
        annotations: str | None,
        calibration_images: str | None,
        calibration_annotations: str | None = None,
        name: str = "coco",
        hashes: ContentHashes | None = None,
    ) -> None:
        require_task(name, "detection", task, "imagefolder")
        given = {
            "images": images, "annotations": annotations, "calibration_images": calibration_images
        }  # fmt: skip
        missing = [f"dataset.{key}=PATH" for key, value in given.items() if not value]
        if missing:
            raise ConfigError(
                f"dataset={name} needs {', '.join(missing)}", "Add them to the command"
            )
        self.name = name
        self._hashes = hashes or ContentHashes()
        self._annotation_file = Path(str(annotations))
        content = _read_annotations(self._annotation_file, "dataset.annotations")
        with _well_formed(self._annotation_file):
            self._categories = {c["id"]: str(c["name"]) for c in content["categories"]}
            require_text(self._categories.values(), self._annotation_file)
            self._index = {key: i for i, key in enumerate(sorted(self._categories))}
            self.class_names = tuple(self._categories[key] for key in self._index)
            self.validation = self._match_images(Path(str(images)), content["images"])
            annotated = self._by_image(self._annotation_file, content)
            self.boxes = tuple(self._target(self._annotation_file, a) for a in annotated.values())
        self._calibration_folder = Path(str(calibration_images))
        file = calibration_annotations
        self._calibration_file = Path(str(file)) if file else None

    @cached_property
    def calibration(self) -> FileSamples:
        option = "dataset.calibration_images"
        return list_images(self._calibration_folder, option, hashes=self._hashes)

    @property
    def labels(self) -> Any:
        raise NotImplementedError("a detection dataset has boxes, not labels")

    @cached_property
    def calibration_boxes(self) -> tuple[BoxTarget, ...] | None:
        """Where a picture was annotated turned, its boxes are turned back: it counts as stored."""
        if self._calibration_file is None:
            return None
        sizes, annotated = self._read_calibration(self._calibration_file)
        with _well_formed(self._calibration_file):
            targets = [self._target(self._calibration_file, entries) for entries in annotated]
        turned = replace(self.calibration, sizes=sizes)
        return tuple(
            replace(target, boxes=turned.to_stored(index, target.boxes))
            if len(target.boxes) and sizes[index]
            else target
            for index, target in enumerate(targets)
        )

    def calibration_classes(self) -> list[frozenset[int]]:
        """The categories in the annotations of each calibration image."""
        if self._calibration_file is None:
            raise ConfigError(
                f"calibration.strategy=balanced needs labels of dataset {self.name}'s calibration "
                "images",
                "Add dataset.calibration_annotations=FILE, or use calibration.strategy=random",
            )
        _, annotated = self._read_calibration(self._calibration_file)
        return [frozenset(entry["category_id"] for entry in entries) for entries in annotated]

    @cached_property
    def fingerprint(self) -> str:
        return content_key(
            hash_file(self._annotation_file),
            self.validation.fingerprint,
            self.calibration.fingerprint,
        )

    def _match_images(self, folder: Path, entries: Sequence[Entry]) -> FileSamples:
        if not folder.is_dir():
            raise DataError(f"folder {folder} does not exist", "Check dataset.images")
        names = tuple(entry["file_name"] for entry in entries)
        absent = [name for name in names if not exists(folder / name)]
        if absent:
            raise DataError(
                f"{len(absent)} of the {len(names)} images in {self._annotation_file} are not in "
                f"{folder} (first: {absent[0]})",
                "Check that dataset.images and dataset.annotations belong together",
            )
        sizes = [_size(entry) for entry in entries]
        return FileSamples(folder, names, sizes=sizes, hashes=self._hashes)

    def _read_calibration(self, path: Path) -> tuple[list[Size | None], list[list[Entry]]]:
        """Of each calibration image the size that the file says, and its annotations."""
        content = _read_annotations(path, "dataset.calibration_annotations")
        names = self.calibration.names
        with _well_formed(path):
            self._require_same_categories(path, content["categories"])
            annotated = self._by_image(path, content)
            absent = [name for name in names if name not in annotated]
            if absent:
                raise DataError(
                    f"{len(absent)} of the {len(names)} calibration images are not in "
                    f"{path} (first: {absent[0]})",
                    "Check that dataset.calibration_images and its annotations belong together",
                )
            sizes = dict(zip(annotated, map(_size, content["images"]), strict=True))
            return [sizes[name] for name in names], [annotated[name] for name in names]

    def _require_same_categories(self, path: Path, entries: Sequence[Entry]) -> None:
        """Raise DataError if an id has another name there: it may mean something else."""
        for entry in entries:
            name, theirs = self._categories.get(entry["id"]), str(entry["name"])
            if name not in (None, theirs):
                raise DataError(
                    f"category {entry['id']} is '{theirs}' in {path} and '{name}' in "
                    f"{self._annotation_file}",
                    "Export both with the same categories",
                )

    def _by_image(self, path: Path, content: Mapping[str, Any]) -> dict[str, list[Entry]]:
        """The annotations of each image by its file name, in the order of the file ``path``."""
        names = [os.path.normpath(e["file_name"]) for e in content["images"]]  # ./a.png is a.png
        twice = next((name for name, number in Counter(names).items() if number > 1), None)
        if twice is not None:
            raise DataError(f"{path} lists the image {twice} twice", "Export the annotations again")
        by_id: dict[int, list[Entry]] = {e["id"]: [] for e in content["images"]}
        if len(by_id) < len(names):
            raise DataError(f"{path} lists two images under one id", "Export the annotations again")
        for annotation in content["annotations"]:
            if annotation["image_id"] not in by_id:
                raise DataError(
                    f"{path}: annotation {annotation.get('id')} belongs to image "
                    f"{annotation['image_id']}, which the file does not list",
                    "Export the annotations again",
                )
            if annotation["category_id"] not in self._index:
                raise DataError(
                    f"{path}: annotation {annotation.get('id')} has category "
                    f"{annotation['category_id']}, which {self._annotation_file.name} does not "
                    "list",
                    "Export the annotations again",
                )
            by_id[annotation["image_id"]].append(annotation)
        return dict(zip(names, by_id.values(), strict=True))

    def _target(self, path: Path, annotations: Sequence[Entry]) -> BoxTarget:
        for annotation in annotations:
            _require_numbers(path, annotation)
        boxes = np.array([a["bbox"] for a in annotations], np.float32).reshape(len(annotations), 4)
        boxes[:, 2:] += boxes[:, :2]
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = [a.get("area", sides[i].prod()) for i, a in enumerate(annotations)]
        return BoxTarget(
            boxes,
            np.array([self._index[a["category_id"]] for a in annotations], np.int64),
            np.array(areas, np.float32),
            np.array([bool(a.get("iscrowd", 0)) for a in annotations], np.bool_),
        )


def _require_numbers(path: Path, annotation: Entry) -> None:
    """Raise DataError for a box that would be in no image: NaN, null, infinite, negative."""
    box, area = annotation["bbox"], annotation.get("area", 0)
    if not (_are_numbers([*box, area]) and len(box) == 4 and min(*box[2:], area) >= 0):
        raise DataError(
            f"{path}: annotation {annotation.get('id')} has the box "
            f"{str(box)[:80]} and area {str(area)[:20]}, not [x, y, width, height] in pixels",
            "Export the annotations again",
        )


def _size(entry: Entry) -> Size | None:
    """Width and height of an image that the file lists, where it says them."""
    width, height = entry.get("width"), entry.get("height")
    return (int(width), int(height)) if width and height else None


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) in (int, float) and abs(value) <= MOST_PIXELS for value in values)


@contextmanager
def _well_formed(path: Path) -> Iterator[None]:
    """Raise DataError for what reading entries of another form leads to."""
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise DataError(
            f"an entry of {path} lacks a field, or has one of a wrong type "
            f"({type(error).__name__}: {error})",
            "Export the annotations again",
        ) from error


def _read_annotations(path: Path, option: str) -> Mapping[str, Any]:
    require_file(path, "annotation file", option)
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or not content["images"] or not content["categories"]:
            raise KeyError("images")
        if not content["annotations"]:
            raise KeyError("annotations")
    except (ValueError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path} is not a COCO annotation file (it needs images, annotations and categories)",
            f"Check {option}",
        ) from error
    return content
