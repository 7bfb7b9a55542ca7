"""How a network's outputs are scored: detections by mAP, logits by Top-1."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bench.data.dataset import BoxTarget
from bench.data.preprocess import Fitting
from bench.evaluation.bootstrap import (
    class_mean_replicates,
    class_replicates,
    mean_over_classes,
    mean_replicates,
)
from bench.evaluation.coco_map import evaluate_boxes
from bench.evaluation.estimate import Interval, Replicates, Weights
from bench.evaluation.interval import half_samples, over_images, rule_of_three
from bench.evaluation.judgement import Judgement, count_images
from bench.evaluation.matches import MatchTable
from bench.evaluation.operating_point import OperatingPoint
from bench.evaluation.top1 import evaluate_labels
from bench.model.detections import Detections
from bench.model.heads.base import ClassifierHead, DetectionHead
from bench.sealed import read_sealed

Array = npt.NDArray[np.float32]
Prediction = TypeVar("Prediction")


@dataclass(frozen=True, eq=False)
class SizeScore:
    """The headline metric of COCO's small, medium or large objects alone, and how many there are.

    ``value`` is nan where there is none.
    """

    name: str
    n_objects: int
    value: float


@dataclass(frozen=True, eq=False)
class Score:
    """A system's headline and second metric on all images, fractions in [0, 1].

    ``classes`` (n_images,) is each image's class, of a classifier; ``sizes`` is a detector's.
    """

    value: float
    secondary: float
    judged: Judgement
    n_classes: int
    classes: npt.NDArray[np.int64] | None = None
    sizes: tuple[SizeScore, ...] = ()

    @property
    def n_images(self) -> int:
        return count_images(self.judged)

    @property
    def class_counts(self) -> npt.NDArray[np.int64]:
        """(n_classes,): the objects to find of each class, or its images."""
        if self.classes is not None:
            return np.bincount(self.classes, minlength=self.n_classes)
        assert isinstance(self.judged, MatchTable)
        counts: npt.NDArray[np.int64] = self.judged.positives.sum(axis=0, dtype=np.int64)
        return counts

    @property
    def class_images(self) -> npt.NDArray[np.int64]:
        """(n_classes,): the images that have something of each class to find, or are of it."""
        if self.classes is not None:
            return self.class_counts
        assert isinstance(self.judged, MatchTable)
        images: npt.NDArray[np.int64] = (self.judged.positives > 0).sum(axis=0, dtype=np.int64)
        return images

    @property
    def images_per_class(self) -> float | None:
        """Images of a class, the mean over the classes that there are; None for a classifier, whose
        metric is no mean over classes."""
        if self.classes is not None:
            return None
        images = self.class_images
        return float(images[images > 0].mean()) if images.any() else 0.0

    @property
    def least_error(self) -> float:
        """A lower bound of the standard error of a difference."""
        return 0.0 if self.classes is None else rule_of_three(self.n_images)

    @cached_property
    def class_values(self) -> npt.NDArray[np.float64]:
        """(n_classes,): the headline metric of each class alone, nan where there is none of it."""
        values: npt.NDArray[np.float64] = self._by_class(np.ones((1, self.n_images), np.int32))[0]
        return values

    @cached_property
    def class_replicates(self) -> npt.NDArray[np.float64]:
        """(HALVES, n_classes): ``class_values`` on the half-samples of ``replicates``."""
        return self._by_class(half_samples(self.n_images))

    @cached_property
    def replicates(self) -> Replicates:
        """(HALVES,): the headline metric on half-samples of the images, the same for all."""
        if isinstance(self.judged, MatchTable):
            return mean_over_classes(self.class_replicates)
        return self.replicates_on(half_samples(self.n_images))

    def replicates_on(self, weights: Weights) -> Replicates:
        """(resamples,): the headline metric where image i stands ``weights[:, i]`` times."""
        if isinstance(self.judged, MatchTable):
            return mean_over_classes(class_replicates(self.judged, weights))
        return mean_replicates(self.judged, weights)

    @cached_property
    def operating_point(self) -> OperatingPoint:
        """Of a detector."""
        assert isinstance(self.judged, MatchTable)
        return OperatingPoint(self.judged)

    def _by_class(self, weights: Weights) -> npt.NDArray[np.float64]:
        if isinstance(self.judged, MatchTable):
            return class_replicates(self.judged, weights)
        assert self.classes is not None
        return class_mean_replicates(self.judged, self.classes, self.n_classes, weights)


def compare(baseline: Score, candidate: Score) -> Interval:
    """Candidate minus baseline, with its paired interval over the images."""
    difference = candidate.value - baseline.value
    halves = candidate.replicates - baseline.replicates
    known = over_images(difference, halves, baseline.n_images, candidate.least_error)
    return known.interval(difference)


class Task(Protocol[Prediction]):
    """How outputs become predictions, and predictions a score."""

    @property
    def metric(self) -> str: ...

    @property
    def secondary_metric(self) -> str: ...

    def predict(self, outputs: Sequence[Array], fitting: Fitting) -> Prediction:
        """One image's prediction from its outputs, the batch axis cut off."""
        ...

    def score(self, predictions: Sequence[Prediction]) -> Score: ...

    def part(self, images: Sequence[int]) -> Task[Prediction]:
        """The same task for some of its images."""
        ...

    def pack(self, predictions: Sequence[Prediction]) -> Mapping[str, npt.NDArray[Any]]: ...

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Sequence[Prediction]: ...


@dataclass(frozen=True)
class DetectionTask:
    """COCO's mAP50-95 and mAP50."""

    head: DetectionHead
    targets: Sequence[BoxTarget]
    n_classes: int
    metric: str = "mAP50-95"
    secondary_metric: str = "mAP50"

    def predict(self, outputs: Sequence[Array], fitting: Fitting) -> Detections:
        decoded = self.head.decode(outputs)
        return Detections(fitting.to_picture(decoded.boxes), decoded.scores, decoded.labels)

    def score(self, predictions: Sequence[Detections]) -> Score:
        accuracy = evaluate_boxes(self.targets, predictions, self.n_classes)
        values = (accuracy.map_small, accuracy.map_medium, accuracy.map_large)
        sizes = zip(("small", "medium", "large"), accuracy.n_by_size, values, strict=True)
        return Score(
            accuracy.map50_95,
            accuracy.map50,
            accuracy.matches,
            self.n_classes,
            sizes=tuple(SizeScore(*size) for size in sizes),
        )

    def part(self, images: Sequence[int]) -> DetectionTask:
        return replace(self, targets=[self.targets[image] for image in images])

    def pack(self, predictions: Sequence[Detections]) -> Mapping[str, npt.NDArray[Any]]:
        return {
            "counts": np.array([len(p.scores) for p in predictions], np.int64),
            "boxes": np.concatenate([p.boxes for p in predictions]),
            "scores": np.concatenate([p.scores for p in predictions]),
            "labels": np.concatenate([p.labels for p in predictions]).astype(np.int16),
        }

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Sequence[Detections]:
        ends = np.cumsum(arrays["counts"])[:-1]
        parts = (np.split(arrays[name], ends) for name in ("boxes", "scores", "labels"))
        return [
            Detections(boxes, scores, labels.astype(np.int64))
            for boxes, scores, labels in zip(*parts, strict=True)
        ]


@dataclass(frozen=True)
class ClassificationTask:
    """Top-1 and Top-5 accuracy."""

    head: ClassifierHead
    labels: npt.NDArray[np.int64]
    metric: str = "Top-1"
    secondary_metric: str = "Top-5"

    def predict(self, outputs: Sequence[Array], fitting: Fitting) -> Array:
        return self.head.logits(outputs)

    def score(self, predictions: Sequence[Array]) -> Score:
        logits = np.stack(predictions)
        shares = evaluate_labels(self.labels, logits)
        return Score(shares.top1, shares.top5, shares.correct, logits.shape[1], self.labels)

    def part(self, images: Sequence[int]) -> ClassificationTask:
        return replace(self, labels=self.labels[list(images)])

    def pack(self, predictions: Sequence[Array]) -> Mapping[str, npt.NDArray[Any]]:
        return {"logits": np.stack(predictions)}

    def unpack(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Sequence[Array]:
        return list(arrays["logits"])


@dataclass(frozen=True, eq=False)
class Evidence(Generic[Prediction]):
    """Predictions for every validation image, and the raw outputs of the first few."""

    predictions: Sequence[Prediction]
    outputs: Sequence[Sequence[Array]]

    def save(self, file: BinaryIO, task: Task[Prediction]) -> None:
        outputs = {
            f"output-{i}-{j}": output
            for i, row in enumerate(self.outputs)
            for j, output in enumerate(row)
        }
        save_arrays(file, {**task.pack(self.predictions), **outputs})

    @classmethod
    def load(cls, path: Path, task: Task[Prediction]) -> Evidence[Prediction]:
        """Raises DamagedError for a file that is not as it was written ``sealed``."""
        with np.load(io.BytesIO(read_sealed(path))) as arrays:
            rows: dict[int, dict[int, Array]] = {}
            for name in arrays.files:
                if name.startswith("output-"):
                    _, row, index = name.split("-")
                    rows.setdefault(int(row), {})[int(index)] = arrays[name]
            outputs = [[row[j] for j in sorted(row)] for _, row in sorted(rows.items())]
            return cls(task.unpack(arrays), outputs)


def save_arrays(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays as one compressed npz file."""
    save: Any = np.savez_compressed  # its stub takes every keyword for ``allow_pickle``
    save(file, **arrays)
