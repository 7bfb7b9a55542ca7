"""The embedded dataset: drawn scenes for detectors, drawn pictures for classifiers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.dataset import BoxTarget, Image, TaskName
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
            return self.scene(index).image
        return self.picture(index)[0]

    def scene(self, index: int) -> Scene:
        return _scene(split_seed(self.split, index), self.domain, self.outlier)

    def picture(self, index: int) -> tuple[Image, int]:
        return draw_picture(split_seed(self.split, index), domain=self.domain, outlier=self.outlier)


# An image and its boxes are asked for one after the other: the last few scenes serve both.
@lru_cache(maxsize=8)
def _scene(seed: int, domain: Domain | None, outlier: bool | None) -> Scene:
    return draw_scene(seed, domain=domain, outlier=outlier)


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
        if validation_images < 1 or calibration_images < 1:
            raise ConfigError("dataset shapes needs at least one image in each split")
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
        return _boxes(self.validation)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return _labels(self.validation)

    def calibration_classes(self) -> list[frozenset[int]]:
        """The classes of the glyphs in each calibration image."""
        if self.task == "detection":
            return [frozenset(target.labels.tolist()) for target in _boxes(self.calibration)]
        return [frozenset({label}) for label in _labels(self.calibration).tolist()]

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


# Every run of a sweep makes its own dataset object; the ground truth is drawn once a process.
@lru_cache(maxsize=4)
def _boxes(samples: ShapeSamples) -> tuple[BoxTarget, ...]:
    return tuple(_target(samples.scene(index)) for index in range(len(samples)))


@lru_cache(maxsize=4)
def _labels(samples: ShapeSamples) -> npt.NDArray[np.int64]:
    labels = [samples.picture(index)[1] for index in range(len(samples))]
    return np.array(labels, np.int64)


def _target(scene: Scene) -> BoxTarget:
    sides = scene.boxes[:, 2:] - scene.boxes[:, :2]
    return BoxTarget(
        scene.boxes, scene.labels, sides.prod(axis=1), np.zeros(len(scene.labels), np.bool_)
    )
