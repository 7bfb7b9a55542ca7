"""Calibration images with their truth, to measure on while validation images stay unused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.dataset import BoxTarget, Image, Samples
from bench.data.derived import Derived


@dataclass(frozen=True)
class Subset:
    """The images ``indices`` of ``samples``, in that order."""

    samples: Samples
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> Image:
        return self.samples.image(self.indices[index])

    @property
    def names(self) -> tuple[str, ...]:
        names = self.samples.names
        return tuple(names[index] for index in self.indices)

    @property
    def fingerprint(self) -> str:
        return content_key(self.samples.fingerprint, self.indices)


@dataclass(frozen=True)
class SearchImages(Derived):
    """The calibration images ``indices`` of ``dataset``, in that order, as validation images.

    Calibration images are the dataset's. Their labels are read when ``boxes``, ``labels`` or
    ``fingerprint`` is first asked for: these raise DataError for labels that are broken. Nothing
    here says whether the dataset evaluates the same images: ``bench.data.overlap`` counts that.
    """

    indices: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.dataset.name} calibration images"

    @property
    def calibration(self) -> Samples:
        return self.dataset.calibration

    @cached_property
    def validation(self) -> Subset:
        return Subset(self.dataset.calibration, self.indices)

    @cached_property
    def boxes(self) -> tuple[BoxTarget, ...] | None:
        boxes = self.dataset.calibration_boxes
        return None if boxes is None else tuple(boxes[index] for index in self.indices)

    @cached_property
    def labels(self) -> npt.NDArray[np.int64] | None:
        labels = self.dataset.calibration_labels
        return None if labels is None else labels[list(self.indices)]

    @property
    def calibration_boxes(self) -> Sequence[BoxTarget] | None:
        return self.dataset.calibration_boxes

    @property
    def calibration_labels(self) -> npt.NDArray[np.int64] | None:
        return self.dataset.calibration_labels

    def calibration_classes(self) -> Sequence[Collection[int]]:
        return self.dataset.calibration_classes()

    @cached_property
    def fingerprint(self) -> str:
        """Of the truth too, which the dataset's fingerprint has of its validation images alone."""
        arrays: list[npt.NDArray[Any]] = [] if self.labels is None else [self.labels]
        for target in self.boxes or ():
            arrays += [target.boxes, target.labels, target.areas, target.crowd]
        truth = (array.tobytes().hex() for array in arrays)
        return content_key(self.dataset.fingerprint, self.validation.fingerprint, *truth)
