"""The embedded dataset: drawn scenes for detectors, drawn pictures for classifiers."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from bench.cache import cached, content_key, source_key
from bench.data.dataset import BoxTarget, Image, TaskName, shown_classes
from bench.data.shapes import CLASSES, DOMAINS, Domain, Scene, draw_picture, draw_scene, split_seed
from bench.errors import ConfigError
from bench.sealed import read_sealed, sealed

GENERATOR_VERSION = 1
"""To be raised with every change to a pixel that ``bench.data.shapes`` draws."""

_CODE = source_key("bench.data.shapes", "bench.data.shapes_dataset")


@dataclass(frozen=True)
class ShapeSamples:
    """The first ``count`` images of a split; ``domain`` and ``outlier`` force what they say."""

    split: str
    count: int
    task: TaskName
    domain: Domain | None = None
    outlier: bool | None = None
    cache: Path | None = field(default=None, compare=False, repr=False)
    """The folder that stores what is in all images, as drawing 400 scenes takes two seconds."""
    _truth: dict[int, BoxTarget | int] = field(default_factory=dict, compare=False, repr=False)
    """The boxes or the class of each image that was drawn: both come with the drawing."""

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.split}-{index:06d}" for index in range(self.count))

    @property
    def fingerprint(self) -> str:
        return content_key(GENERATOR_VERSION, self)

    def image(self, index: int) -> Image:
        if self.task == "detection":
            scene = self.scene(index)
            self._truth[index] = _target(scene.boxes, scene.labels)
            return scene.image
        seed = split_seed(self.split, index)
        picture, self._truth[index] = draw_picture(seed, domain=self.domain, outlier=self.outlier)
        return picture

    def scene(self, index: int) -> Scene:
        seed = split_seed(self.split, index)
        return draw_scene(seed, domain=self.domain, outlier=self.outlier)

    @cached_property
    def truths(self) -> list[Any]:
        """The boxes or the class of each image; those that were not drawn yet are drawn, unless
        they are in the cache."""
        if self.cache is None:
            return self._drawn_truths()
        path = self.cache / f"truths-{content_key(self.fingerprint, _CODE)}.npz"
        return cached(path, self._load, lambda: sealed(path, self._save))

    def _drawn_truths(self) -> list[Any]:
        for index in range(self.count):
            if index not in self._truth:
                self.image(index)
        return [self._truth[index] for index in range(self.count)]

    def _save(self, file: BinaryIO) -> None:
        truths = self._drawn_truths()
        if self.task == "classification":
            np.savez(file, labels=np.array(truths, np.int64))
            return
        np.savez(
            file,
            boxes=np.concatenate([one.boxes for one in truths]),
            labels=np.concatenate([one.labels for one in truths]),
            counts=np.array([len(one.labels) for one in truths]),
        )

    def _load(self, path: Path) -> list[Any]:
        """Raises DamagedError for a file that is not as it was written."""
        with np.load(io.BytesIO(read_sealed(path))) as arrays:
            labels = arrays["labels"]
            if self.task == "classification":
                return [int(label) for label in labels]
            ends = np.cumsum(arrays["counts"])[:-1]
            boxes = np.split(arrays["boxes"], ends)
            return [_target(*one) for one in zip(boxes, np.split(labels, ends), strict=True)]


MOST_IMAGES = 1_000_000


class ShapesDataset:
    """Disjoint calibration and validation splits, each with its own domain and share of outliers.

    ``*_domain`` and ``*_outlier`` select frames: null leaves the natural mixture. ``cache``
    is a folder that stores the truth of what was drawn. Raises
    ConfigError for an unknown domain or a count below 1.
    """

    class_names = CLASSES

    def __init__(
        self,
        task: TaskName,
        validation_images: int,
        calibration_images: int,
        validation_domain: Domain | None = None,
        calibration_domain: Domain | None = None,
        validation_outlier: bool | None = None,
        calibration_outlier: bool | None = None,
        name: str = "shapes",
        cache: Path | None = None,
    ) -> None:
        for domain in (validation_domain, calibration_domain):
            if domain is not None and domain not in DOMAINS:
                raise ConfigError(
                    f"dataset shapes has no domain '{domain}'", f"Use {', '.join(DOMAINS)} or null"
                )
        if not all(1 <= count <= MOST_IMAGES for count in (validation_images, calibration_images)):
            raise ConfigError(
                f"dataset shapes needs 1 to {MOST_IMAGES:,} images in each split, not "
                f"{validation_images} and {calibration_images}"
            )
        self.name = name
        self.task = task
        self.validation = ShapeSamples(
            "validation", validation_images, task, validation_domain, validation_outlier, cache
        )
        self.calibration = ShapeSamples(
            "calibration", calibration_images, task, calibration_domain, calibration_outlier, cache
        )

    @property
    def boxes(self) -> tuple[BoxTarget, ...]:
        return tuple(self.validation.truths)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return np.array(self.validation.truths, np.int64)

    @property
    def calibration_boxes(self) -> tuple[BoxTarget, ...] | None:
        return tuple(self.calibration.truths) if self.task == "detection" else None

    @property
    def calibration_labels(self) -> npt.NDArray[np.int64] | None:
        is_classified = self.task == "classification"
        return np.array(self.calibration.truths, np.int64) if is_classified else None

    def calibration_classes(self) -> list[frozenset[int]]:
        """The classes of the glyphs in each calibration image."""
        return shown_classes(self.calibration.truths)

    @property
    def fingerprint(self) -> str:
        return content_key(self.validation.fingerprint, self.calibration.fingerprint)

    def annotations(self) -> str:
        """Ground truth of the validation split as COCO JSON (detection)."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, target in enumerate(self.boxes):
            height, width, _ = self.validation.image(index).shape
            name = f"{self.validation.names[index]}.png"
            images.append({"id": index, "file_name": name, "height": height, "width": width})
            for box, label, area in zip(target.boxes, target.labels, target.areas, strict=True):
                x1, y1, x2, y2 = (float(v) for v in box)
                annotation = {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": int(label) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(area),
                    "iscrowd": 0,
                }
                annotations.append(annotation)
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
        return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def _target(boxes: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> BoxTarget:
    sides = boxes[:, 2:] - boxes[:, :2]
    return BoxTarget(boxes, labels, sides.prod(axis=1), np.zeros(len(labels), np.bool_))
