"""Pictures that a Python caller hands in, to calibrate on in place of a dataset's."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.dataset import BoxTarget, Image, Samples
from bench.data.derived import Derived
from bench.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class GivenPictures:
    """Pictures in memory, each height x width x 3 uint8 RGB.

    Raises DataError for an array that is none, and where there is none at all.
    """

    pictures: Sequence[Image]

    def __post_init__(self) -> None:
        if not len(self.pictures):
            raise DataError("no calibration images are given", "Give one at least")
        for index, picture in enumerate(self.pictures):
            kind = getattr(picture, "dtype", type(picture).__name__)
            shape = np.shape(picture)
            if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or not picture.size:
                raise DataError(
                    f"calibration image {index} is {kind} {'x'.join(map(str, shape))}, not uint8 "
                    "HEIGHTxWIDTHx3",
                    "Give RGB pictures as they were decoded: the harness fits and scales them",
                )

    def __len__(self) -> int:
        return len(self.pictures)

    def image(self, index: int) -> Image:
        return self.pictures[index]

    @cached_property
    def names(self) -> Sequence[str]:
        return tuple(f"given/{index}" for index in range(len(self)))

    @cached_property
    def fingerprint(self) -> str:
        return content_key(
            *(
                f"{picture.shape} {hashlib.sha256(picture.tobytes()).hexdigest()}"
                for picture in self.pictures
            )
        )


@dataclass(frozen=True, eq=False)
class CalibratedOn(Derived):
    """A dataset whose calibration images are others, without labels."""

    calibration: Samples
    calibration_boxes: None = None
    calibration_labels: None = None

    @property
    def validation(self) -> Samples:
        return self.dataset.validation

    @property
    def boxes(self) -> Sequence[BoxTarget] | None:
        return self.dataset.boxes

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        return self.dataset.labels

    def calibration_classes(self) -> Sequence[Collection[int]]:
        raise ConfigError(
            "calibration.strategy=balanced needs labels, and the images given have none",
            "Use calibration.strategy=random",
        )

    @property
    def fingerprint(self) -> str:
        return content_key(self.dataset.fingerprint, self.calibration.fingerprint)
