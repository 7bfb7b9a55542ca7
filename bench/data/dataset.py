"""What every dataset offers: validation and calibration samples, with truth where there is any."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from bench.errors import ConfigError, DataError

TaskName = Literal["detection", "classification"]
Image = npt.NDArray[np.uint8]
"""Height x width x 3, RGB, uint8."""


IGNORED = -1.0
"""An area outside every size class: COCOeval ignores such a box, and nothing else about it."""


@dataclass(frozen=True)
class BoxTarget:
    """Ground truth of one image for detection.

    ``boxes`` (n, 4) float32, x1 y1 x2 y2 in pixels of the original image; ``labels`` (n,) int64
    class indices (not COCO category ids); ``areas`` (n,) float32 in square pixels (for COCO's
    size classes); ``crowd`` (n,) bool, COCO's ``iscrowd``: overlap is then measured against the
    detection alone, and any number of detections may match. An area of ``IGNORED`` marks a box that
    need not be found: a detection that matches it, by ordinary IoU, counts neither way.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    areas: npt.NDArray[np.float32]
    crowd: npt.NDArray[np.bool_]


def require_task(name: str, wanted: TaskName, task: TaskName, instead: str) -> None:
    """Raise ConfigError if the model's ``task`` is not the one that a dataset is for."""
    if task != wanted:
        model = "detector" if wanted == "detection" else "classifier"
        raise ConfigError(
            f"dataset {name} is for {wanted}, the model is for {task}",
            f"Use dataset={instead}, or a {model}",
        )


MOST_CLASSES = 100_000
"""Four times as many as ImageNet has in its largest form."""


def require_classes(count: int, where: str) -> None:
    """Raise ConfigError for a number of classes that no model tells apart."""
    if count < 1:
        raise ConfigError(f"{where} is below 1", "Use 1 or more")
    if count > MOST_CLASSES:
        raise ConfigError(f"{where} is more than {MOST_CLASSES:,}", "Use the number of classes")


def require_text(names: Iterable[str], where: Path) -> None:
    """Raise DataError for a class name with half a character, which no file can hold."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"class {name!r} in {where} is not text", "Rename the class, or export it again"
            ) from error


def shown_classes(truth: Iterable[BoxTarget | int]) -> list[frozenset[int]]:
    """The classes that each image shows, from its boxes or its class index."""
    return [
        frozenset(of_image.labels.tolist() if isinstance(of_image, BoxTarget) else (of_image,))
        for of_image in truth
    ]


class Samples(Protocol):
    """An ordered set of images, each loaded when asked for."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image:
        """Image ``index``, height x width x 3 RGB uint8; raises DataError naming a broken file."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """A stable name for each image (file path, or split and number), in order."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when any of these images changes."""
        ...


class Dataset(Protocol):
    """A named dataset with disjoint calibration and validation samples."""

    @property
    def name(self) -> str: ...

    @property
    def task(self) -> TaskName: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def calibration(self) -> Samples: ...

    @property
    def validation(self) -> Samples: ...

    @property
    def boxes(self) -> Sequence[BoxTarget] | None:
        """Ground truth of each validation image, in order (detection only); None: no labels."""
        ...

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """Class index of each validation image, in order (classification only); None: no labels."""
        ...

    @property
    def calibration_boxes(self) -> Sequence[BoxTarget] | None:
        """Ground truth of each calibration image, in order; None: no labels, or no detection.

        It is read when it is first asked for; DataError for labels that are broken.
        """
        ...

    @property
    def calibration_labels(self) -> npt.NDArray[np.int64] | None:
        """Class index of each calibration image, (n,); None: no labels, or no classification.

        Read as ``calibration_boxes`` are.
        """
        ...

    def calibration_classes(self) -> Sequence[Collection[int]]:
        """The classes that each calibration image shows; ConfigError where nothing tells."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when any image or label of either split changes."""
        ...
