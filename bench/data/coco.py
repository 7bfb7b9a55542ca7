"""COCO-style detection data: a folder of images and one JSON file of annotations."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.cache import content_key, hash_file
from bench.data.contents import ContentHashes
from bench.data.dataset import BoxTarget, TaskName, require_task, require_text
from bench.data.files import FileSamples, exists, list_images, require_file
from bench.errors import ConfigError, DataError

MOST_PIXELS = 1e9
"""Beyond any coordinate or area in a picture; NaN is not below it."""


class CocoDataset:
    """Validation images with boxes, and calibration images from another folder.

    Class indices follow the ascending category ids, as every COCO model does. A picture that EXIF
    would turn is turned only if it then has the size that its annotations say; calibration images,
    of which nothing says it, count as stored (as ``torchvision``'s ``CocoDetection`` reads all).
    They need ``calibration_annotations`` only where they are to be balanced over classes. Raises
    ConfigError if a path is not given or the model is no detector, DataError if files are missing
    or do not match.
    """

    task: TaskName = "detection"

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
        try:
            self._categories = {c["id"]: str(c["name"]) for c in content["categories"]}
            require_text(self._categories.values(), self._annotation_file)
            self._index = {key: i for i, key in enumerate(sorted(self._categories))}
            self.class_names = tuple(self._categories[key] for key in self._index)
            self.validation = self._match_images(Path(str(images)), content["images"])
            self.boxes = self._collect_boxes(content)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise _malformed(self._annotation_file, error) from error
        self._calibration_folder = Path(str(calibration_images))
        self._calibration_annotations = calibration_annotations

    @cached_property
    def calibration(self) -> FileSamples:
        option = "dataset.calibration_images"
        return list_images(self._calibration_folder, option, hashes=self._hashes)

    @property
    def labels(self) -> Any:
        raise NotImplementedError("a detection dataset has boxes, not labels")

    def calibration_classes(self) -> list[frozenset[int]]:
        """The categories in the annotations of each calibration image."""
        if not self._calibration_annotations:
            raise ConfigError(
                f"calibration.strategy=balanced needs labels of dataset {self.name}'s calibration "
                "images",
                "Add dataset.calibration_annotations=FILE, or use calibration.strategy=random",
            )
        path = Path(str(self._calibration_annotations))
        content = _read_annotations(path, "dataset.calibration_annotations")
        found: dict[int, set[int]] = defaultdict(set)
        try:
            for annotation in content["annotations"]:
                found[annotation["image_id"]].add(annotation["category_id"])
            by_name = {e["file_name"]: frozenset(found[e["id"]]) for e in content["images"]}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _malformed(path, error) from error
        absent = [name for name in self.calibration.names if name not in by_name]
        if absent:
            raise DataError(
                f"{len(absent)} of the {len(self.calibration)} calibration images are not in "
                f"{path} (first: {absent[0]})",
                "Check that dataset.calibration_images and its annotations belong together",
            )
        return [by_name[name] for name in self.calibration.names]

    @cached_property
    def fingerprint(self) -> str:
        return content_key(
            hash_file(self._annotation_file),
            self.validation.fingerprint,
            self.calibration.fingerprint,
        )

    def _match_images(self, folder: Path, entries: Sequence[Mapping[str, Any]]) -> FileSamples:
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
        places = Counter(map(os.path.normpath, names))  # ./a.png is a.png
        twice = next((place for place, number in places.items() if number > 1), None)
        if twice is not None:
            raise DataError(
                f"{self._annotation_file} lists the image {twice} twice",
                "Export the annotations again",
            )
        sizes = [(int(e["width"]), int(e["height"])) if e.get("width") and e.get("height") else None
                 for e in entries]  # fmt: skip
        return FileSamples(folder, names, sizes=sizes, hashes=self._hashes)

    def _collect_boxes(self, content: Mapping[str, Any]) -> tuple[BoxTarget, ...]:
        by_image: dict[int, list[Mapping[str, Any]]] = {e["id"]: [] for e in content["images"]}
        if len(by_image) < len(content["images"]):
            raise DataError(
                f"{self._annotation_file} lists two images under one id",
                "Export the annotations again",
            )
        for annotation in content["annotations"]:
            if annotation["image_id"] not in by_image:
                raise DataError(
                    f"{self._annotation_file}: annotation {annotation.get('id')} belongs to image "
                    f"{annotation['image_id']}, which the file does not list",
                    "Export the annotations again",
                )
            if annotation["category_id"] not in self._index:
                raise DataError(
                    f"{self._annotation_file}: annotation {annotation.get('id')} has category "
                    f"{annotation['category_id']}, which the file does not list",
                    "Export the annotations again",
                )
            by_image[annotation["image_id"]].append(annotation)
        return tuple(self._target(annotations) for annotations in by_image.values())

    def _target(self, annotations: Sequence[Mapping[str, Any]]) -> BoxTarget:
        for annotation in annotations:
            self._require_numbers(annotation)
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

    def _require_numbers(self, annotation: Mapping[str, Any]) -> None:
        """Raise DataError for a box that would be in no image: NaN, null, infinite, negative."""
        box, area = annotation["bbox"], annotation.get("area", 0)
        if not (_are_numbers([*box, area]) and len(box) == 4 and min(*box[2:], area) >= 0):
            raise DataError(
                f"{self._annotation_file}: annotation {annotation.get('id')} has the box "
                f"{str(box)[:80]} and area {str(area)[:20]}, not [x, y, width, height] in pixels",
                "Export the annotations again",
            )


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) in (int, float) and abs(value) <= MOST_PIXELS for value in values)


def _malformed(path: Path, error: Exception) -> DataError:
    return DataError(
        f"an entry of {path} lacks a field, or has one of another kind "
        f"({type(error).__name__}: {error})",
        "Export the annotations again",
    )


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
