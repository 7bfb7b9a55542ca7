"""Detection data as Ultralytics describes it: a YAML file, images, and text files of labels.

Source: Ultralytics' dataset format (docs.ultralytics.com/datasets/detect) and its reader,
``ultralytics/data/utils.py``: ``check_det_dataset``, ``img2label_paths``, ``verify_image_label``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.contents import ContentHashes
from bench.data.dataset import (
    BoxTarget,
    TaskName,
    require_classes,
    require_task,
    require_text,
)
from bench.data.files import FileSamples, list_images, read_text, require_images
from bench.data.yaml_file import read_yaml
from bench.errors import ConfigError, DataError

BEYOND = 1.01
"""Largest normalised coordinate: labels are written with few digits, 1.00001 is no mistake."""


class YoloDataset:
    """Validation images with boxes from one split of the YAML, calibration images from another.

    Pictures are turned as their EXIF says, as Ultralytics reads them (see ``bench.data.files``).
    ``file`` is the YAML, ``root`` replaces its ``path``. A relative ``path`` counts from the YAML's
    folder, or else from the working directory. Raises ConfigError if the file is not given, the
    model is no detector or a split is not in the YAML, DataError if files are missing or broken.
    """

    task: TaskName = "detection"
    calibration_labels = None

    def __init__(
        self,
        task: TaskName,
        file: str | None,
        root: str | None = None,
        split: str = "val",
        calibration_split: str = "train",
        name: str = "yolo",
        hashes: ContentHashes | None = None,
    ) -> None:
        require_task(name, "detection", task, "imagefolder")
        if not file:
            raise ConfigError(f"dataset={name} needs dataset.file=PATH", "Add it to the command")
        self.name = name
        self._hashes = hashes or ContentHashes()
        self._file = Path(str(file))
        self._content = _read_yaml(self._file)
        self.class_names = _class_names(self._content, self._file)
        self._root = self._find_root(root)
        self._calibration_split = calibration_split
        self.validation = self._images(split, "dataset.split")

    @cached_property
    def calibration(self) -> FileSamples:
        return self._images(self._calibration_split, "dataset.calibration_split")

    @cached_property
    def boxes(self) -> tuple[BoxTarget, ...]:
        return _targets(self.validation, self._validation_labels)

    @cached_property
    def calibration_boxes(self) -> tuple[BoxTarget, ...] | None:
        """None where no calibration image has a label file."""
        if not any(file.is_file() for file in _label_files(self.calibration)):
            return None
        return _targets(self.calibration, self._labels(self.calibration))

    @property
    def labels(self) -> Any:
        raise NotImplementedError("a detection dataset has boxes, not labels")

    def calibration_classes(self) -> list[frozenset[int]]:
        """The classes in the label file of each calibration image."""
        labels = self._labels(self.calibration)
        return [frozenset(of_image[:, 0].astype(int).tolist()) for of_image in labels]

    @cached_property
    def fingerprint(self) -> str:
        """Of what the YAML says only the classes and the images: its folder may be another."""
        labels = (labels.tobytes().hex() for labels in self._validation_labels)
        return content_key(
            self.class_names,
            self.validation.fingerprint,
            self.calibration.fingerprint,
            content_key(*labels),
        )

    @cached_property
    def _validation_labels(self) -> list[npt.NDArray[np.float64]]:
        return self._labels(self.validation)

    def _find_root(self, root: str | None) -> Path:
        given = Path(str(root or self._content.get("path") or "."))
        beside = self._file.parent / given
        found = given if root or not beside.is_dir() else beside
        if not found.is_dir():
            where = "dataset.root" if root else f"the path in {self._file}"
            raise DataError(
                f"folder {given} ({where}) does not exist", "Give dataset.root=FOLDER of the images"
            )
        return found.absolute()

    def _images(self, split: str, option: str) -> FileSamples:
        """The images of a split: a folder, a list in a .txt file, or several of these."""
        value = self._content.get(split)
        if not value:
            known = [key for key in ("train", "val", "test") if self._content.get(key)]
            raise ConfigError(
                f"{option}={split} is not in {self._file}", f"It has {', '.join(known) or 'none'}"
            )
        paths: set[Path] = set()
        for entry in value if isinstance(value, list) else [value]:
            paths.update(self._expand(str(entry), split))
        names = [self._named(path) for path in sorted(paths)]
        return FileSamples(self._root, names, upright=True, hashes=self._hashes)

    def _expand(self, entry: str, split: str) -> Sequence[Path]:
        path, option = self._root / entry, f"'{split}' in {self._file}, or dataset.root"
        if not path.exists() and entry.startswith("../"):  # so Roboflow writes what lies beside
            path = self._root / entry.removeprefix("../")
        path = Path(os.path.normpath(path))
        if path.suffix.lower() != ".txt":
            found = list_images(path, option)
            return [found.path(index) for index in range(len(found))]
        lines = read_text(path, "image list", option).splitlines()
        listed = [path.parent / line.strip() for line in lines if line.strip()]
        images = [Path(os.path.normpath(image)) for image in listed]
        require_images(images, path, option)
        return images

    def _named(self, path: Path) -> str:
        inside = path.is_relative_to(self._root)
        return str(path.relative_to(self._root) if inside else path)

    def _labels(self, samples: FileSamples) -> list[npt.NDArray[np.float64]]:
        """Of each image (n, 5): class, x1, y1, x2, y2, normalised; no file is no object."""
        files = _label_files(samples)
        if not any(file.is_file() for file in files):
            raise DataError(
                f"none of the {len(files)} images has a label file (first looked for: {files[0]})",
                "Put the labels into a folder 'labels' beside 'images'",
            )
        return [read_labels(file, len(self.class_names)) for file in files]


def _targets(
    samples: FileSamples, labels: Sequence[npt.NDArray[np.float64]]
) -> tuple[BoxTarget, ...]:
    """Of each image its labels in pixels, for which the heads of the files are read."""
    return tuple(_target(of_image, samples, i) for i, of_image in enumerate(labels))


def _target(labels: npt.NDArray[np.float64], samples: FileSamples, index: int) -> BoxTarget:
    scale = np.array(samples.size(index) * 2 if len(labels) else (1, 1, 1, 1), np.float64)
    boxes = labels[:, 1:] * scale
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return BoxTarget(
        boxes.astype(np.float32),
        labels[:, 0].astype(np.int64),
        areas.astype(np.float32),
        np.zeros(len(labels), np.bool_),
    )


def _label_files(samples: FileSamples) -> list[Path]:
    return [label_file(samples.path(index)) for index in range(len(samples))]


def label_file(image: Path) -> Path:
    """Where an image's labels lie: the last folder ``images`` becomes ``labels``."""
    head, found, tail = str(image).rpartition(f"{os.sep}images{os.sep}")
    return Path(f"{head}{os.sep}labels{os.sep}{tail}" if found else image).with_suffix(".txt")


def read_labels(path: Path, n_classes: int) -> npt.NDArray[np.float64]:
    """(n, 5): class, x1, y1, x2, y2, normalised; the same line twice is one object.

    A line is ``class cx cy width height``, or ``class`` and the corners of a polygon, which becomes
    its bounding box. Raises DataError for anything else.
    """
    if not path.is_file():
        return np.empty((0, 5), np.float64)
    rows: dict[tuple[float, ...], None] = {}
    for number, line in enumerate(read_text(path, "label file", "it").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows[_parse(line, n_classes)] = None
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: {error}",
                "A line is 'class cx cy width height' with coordinates from 0 to 1, or a polygon",
            ) from error
    return np.array(list(rows), np.float64).reshape(len(rows), 5)


def _parse(line: str, n_classes: int) -> tuple[float, ...]:
    numbers = [float(word) for word in line.split()]
    label, values = numbers[0], np.array(numbers[1:], np.float64)
    if not (label.is_integer() and 0 <= label < n_classes):
        raise ValueError(f"class {line.split()[0]} is not in 0 to {n_classes - 1}")
    polygon = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not polygon:
        raise ValueError(f"{len(numbers)} numbers are neither a box nor a polygon")
    if not (values >= 0).all() or not (values <= BEYOND).all():
        raise ValueError("a coordinate is not in 0 to 1")
    if polygon:
        corners = values.reshape(-1, 2)
        low, high = corners.min(axis=0), corners.max(axis=0)
    else:
        low, high = values[:2] - values[2:] / 2, values[:2] + values[2:] / 2
    return (label, *low.tolist(), *high.tolist())


def _read_yaml(path: Path) -> Mapping[str, Any]:
    content = read_yaml(path, "dataset file", "dataset.file")
    if not isinstance(content, dict):
        raise DataError(
            f"{path} is not an Ultralytics dataset file (it needs train, val and names)",
            "Check dataset.file",
        )
    return content


def _class_names(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """``names`` as a list or a mapping from 0 on; where there is only ``nc``, numbers."""
    names, count = content.get("names"), content.get("nc")
    if not names and isinstance(count, int) and count > 0:
        require_classes(count, f"nc: {count} in {path}")
        names = list(range(count))
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DataError(
                f"the names in {path} do not count from 0 to {len(names) - 1}",
                "Number them that way",
            )
        names = [names[index] for index in range(len(names))]
    if not names or not isinstance(names, list):
        raise DataError(f"{path} has no names of classes", "Add names: [first, second, ...]")
    if not all(isinstance(name, (str, int, float)) for name in names):
        raise DataError(f"the names in {path} are not words", "Write names: [first, second, ...]")
    require_classes(len(names), f"the number of names in {path}")
    if count is not None and count != len(names):
        raise DataError(f"{path} has {len(names)} names but nc: {count}", "Fix one of them")
    require_text(map(str, names), path)
    return tuple(map(str, names))
