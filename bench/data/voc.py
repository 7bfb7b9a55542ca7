"""Pascal VOC detection data: one XML file an image, and lists of images.

Source: M. Everingham et al., The Pascal Visual Object Classes Challenge 2012 Development Kit.
Its pixels count from 1 and a box holds its last one: xmin 1, xmax 3 is 0 to 3 here (as Detectron2
reads it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from bench.cache import content_key
from bench.data.contents import ContentHashes
from bench.data.dataset import IGNORED, BoxTarget, TaskName, require_task, shown_classes
from bench.data.files import SUFFIXES, FileSamples, read_text, require_images
from bench.errors import ConfigError, DataError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


class VocDataset:
    """Validation images with boxes from one list, calibration images from another.

    Objects marked ``difficult`` need not be found, and a detection on one counts neither way. The
    development kit forgives every detection on such an object, COCOeval the best of each; as crowd
    regions they would forgive all, but by another measure of overlap. The score is COCO's
    all the same: mAP50 is near VOC's AP (which reads precision at every recall, not at 101).

    Pictures count as stored, whatever their EXIF says, as the development kit and torchvision read
    them.

    Raises ConfigError if the root is not given or the model is no detector, DataError if files are
    missing or broken.
    """

    task: TaskName = "detection"
    calibration_labels = None

    def __init__(
        self,
        task: TaskName,
        root: str | None,
        calibration_root: str | None = None,
        split: str = "val",
        calibration_split: str = "train",
        classes: tuple[str, ...] | None = None,
        name: str = "voc",
        hashes: ContentHashes | None = None,
    ) -> None:
        require_task(name, "detection", task, "imagefolder")
        if not root:
            raise ConfigError(f"dataset={name} needs dataset.root=PATH", "Add it to the command")
        self.name = name
        self._hashes = hashes or ContentHashes()
        self.class_names = tuple(map(str, classes or CLASSES))
        self._index = {name: i for i, name in enumerate(self.class_names)}
        self._calibration_root = Path(str(calibration_root or root))
        self._calibration_split = calibration_split
        self.validation = _list(Path(str(root)), split, "dataset.split", self._hashes)

    @cached_property
    def calibration(self) -> FileSamples:
        root, split = self._calibration_root, self._calibration_split
        return _list(root, split, "dataset.calibration_split", self._hashes)

    @cached_property
    def boxes(self) -> tuple[BoxTarget, ...]:
        return self._targets(self.validation)

    @cached_property
    def calibration_boxes(self) -> tuple[BoxTarget, ...] | None:
        """None where no calibration image has an XML file."""
        root, names = self.calibration.root, _annotations(self.calibration)
        is_labelled = any((root / name).is_file() for name in names)
        return self._targets(self.calibration) if is_labelled else None

    @property
    def labels(self) -> Any:
        raise NotImplementedError("a detection dataset has boxes, not labels")

    def calibration_classes(self) -> list[frozenset[int]]:
        """The classes in the XML file of each calibration image."""
        return shown_classes(self._targets(self.calibration))

    @cached_property
    def fingerprint(self) -> str:
        root = self.validation.root
        labels = [name for name in _annotations(self.validation) if (root / name).is_file()]
        return content_key(
            self.class_names,
            self.validation.fingerprint,
            self.calibration.fingerprint,
            *labels,
            *self._hashes.of(root, labels),
        )

    def _targets(self, samples: FileSamples) -> tuple[BoxTarget, ...]:
        return tuple(self._target(samples.root / name) for name in _annotations(samples))

    def _target(self, path: Path) -> BoxTarget:
        objects = [_read_object(entry, path) for entry in _parse(path).findall("object")]
        unknown = [label for label, _, _ in objects if label not in self._index]
        if unknown:
            raise DataError(
                f"{path} has an object of class '{unknown[0]}', not a class of the dataset",
                "Give dataset.classes=[first,second,...] in the model's order",
            )
        boxes = np.array([box for _, box, _ in objects], np.float32).reshape(len(objects), 4)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        difficult = np.array([difficult for _, _, difficult in objects], np.bool_)
        return BoxTarget(
            boxes,
            np.array([self._index[label] for label, _, _ in objects], np.int64),
            np.where(difficult, np.float32(IGNORED), areas).astype(np.float32),
            np.zeros(len(objects), np.bool_),
        )


def _list(root: Path, split: str, option: str, hashes: ContentHashes) -> FileSamples:
    """The images of ImageSets/Main/SPLIT.txt: an id a line, what stands behind it is a flag."""
    if not (root / "JPEGImages").is_dir():
        raise DataError(
            f"{root} has no folder JPEGImages", "Give the root that has it: VOCdevkit/VOC2012"
        )
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    lines = read_text(path, "image list", option).splitlines()
    ids = [line.split()[0] for line in lines if line.strip()]
    stems = {
        f.stem: f.name for f in (root / "JPEGImages").iterdir() if f.suffix.lower() in SUFFIXES
    }
    names = [f"JPEGImages/{stems.get(one, f'{one}.jpg')}" for one in ids]
    samples = FileSamples(root, names, hashes=hashes)
    require_images([samples.path(index) for index in range(len(samples))], path, option)
    return samples


def _annotations(samples: FileSamples) -> Sequence[str]:
    """The names of the images' XML files under the root."""
    return [f"Annotations/{Path(name).stem}.xml" for name in samples.names]


def _read_object(entry: Element, path: Path) -> tuple[str, tuple[float, ...], bool]:
    """Class, x1 y1 x2 y2 and whether it is difficult."""
    label = (entry.findtext("name") or "").strip()
    try:
        x1, y1, x2, y2 = (
            float(entry.findtext(f"bndbox/{side}") or "")
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
        if not (x1 <= x2 and y1 <= y2 and all(map(math.isfinite, (x1, y1, x2, y2)))):
            raise ValueError
    except ValueError as error:
        raise DataError(
            f"{path}: an object of class '{label}' has no box "
            "(it needs numbers xmin, ymin, xmax and ymax, no min above its max)",
            "Export the annotations again",
        ) from error
    difficult = (entry.findtext("difficult") or "0").strip() not in ("0", "")
    return label, (x1 - 1, y1 - 1, x2, y2), difficult


class _DeclaredError(Exception):
    """An entity is declared: it could blow up in memory, and no annotation needs one."""


def _parse(path: Path) -> Element:
    """The root of an XML file, by the standard library's parser, without entities of its own."""
    if not path.is_file():
        raise DataError(f"annotation file {path} does not exist", "Check dataset.root")

    def refuse(*_: object) -> None:
        raise _DeclaredError

    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
        root = builder.close()
    except _DeclaredError as error:
        raise DataError(f"{path} declares entities", "Remove its DOCTYPE") from error
    except (expat.ExpatError, ValueError) as error:
        raise DataError(f"{path} is not valid XML ({error})", "Export it again") from error
    if root.tag != "annotation":
        raise DataError(f"{path} is not a VOC annotation but <{root.tag}>", "Check dataset.root")
    return root
