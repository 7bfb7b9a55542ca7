"""The embedded dataset: drawn scenes for detectors, drawn pictures for classifiers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.dataset import BoxTarget, Image, TaskName, shown_classes
from bench.data.shapes import CLASSES, DOMAINS, Domain, Scene, draw_picture, draw_scene, split_seed
from bench.errors import ConfigError

GENERATOR_VERSION = 1
"""To be raised with every change to a pixel that ``bench.data.shapes`` draws."""


@dataclass(frozen=True)
class ShapeSamples:
    """The first ``count`` images of a split; ``domain`` and ``outlier`` force what they say."""

    split: str
    count: int
    task: TaskName
    domain: Domain | None = None
    outlier: bool | None = None
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
            self._truth[index] = _target(scene)
            return scene.image
        seed = split_seed(self.split, index)
        picture, self._truth[index] = draw_picture(seed, domain=self.domain, outlier=self.outlier)
        return picture

    def scene(self, index: int) -> Scene:
        seed = split_seed(self.split, index)
        return draw_scene(seed, domain=self.domain, outlier=self.outlier)

    @property
    def truths(self) -> list[Any]:
        """The boxes or the class of each image; those that were not drawn yet are drawn."""
        for index in range(self.count):
            if index not in self._truth:
                self.image(index)
        return [self._truth[index] for index in range(self.count)]


MOST_IMAGES = 1_000_000


class ShapesDataset:
    """Disjoint calibration and validation splits, each with its own domain and share of outliers.

    ``*_domain`` and ``*_outlier`` select frames: null leaves the natural mixture. Raises
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
            "validation", validation_images, task, validation_domain, validation_outlier
        )
        self.calibration = ShapeSamples(
            "calibration", calibration_images, task, calibration_domain, calibration_outlier
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


def _target(scene: Scene) -> BoxTarget:
    sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
    return BoxTarget(
        scene.boxes, scene.labels, sides.prod(axis=1), np.zeros(len(scene.labels), np.bool_)
    )
