"""What a network's outputs are scored as: detections by mAP, logits by Top-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bench.data.dataset import BoxTarget
from bench.data.preprocess import Fitting
from bench.evaluation.bootstrap import Interval, Replicates, paired_bootstrap
from bench.evaluation.coco_map import evaluate_boxes
from bench.evaluation.judgement import Judgement, replicates_of
from bench.evaluation.matches import MatchTable
from bench.evaluation.top1 import evaluate_labels
from bench.model.detections import Detections
from bench.model.heads.base import ClassifierHead, DetectionHead

Array = npt.NDArray[np.float32]
Prediction = TypeVar("Prediction")


@dataclass(frozen=True, eq=False)
class Score:
    """A system's headline and second metric on all images, fractions in [0, 1]."""

    value: float
    secondary: float
    judged: Judgement

    @property
    def n_images(self) -> int:
        return self.judged.n_images if isinstance(self.judged, MatchTable) else len(self.judged)

    @cached_property
    def replicates(self) -> Replicates:
        """The headline metric on 1,000 resamples of the images, the same for every system."""
        return replicates_of(self.judged)


def compare(baseline: Score, candidate: Score) -> Interval:
    """Candidate minus baseline, with its paired bootstrap interval over the images."""
    difference = candidate.value - baseline.value
    return paired_bootstrap(difference, baseline.replicates, candidate.replicates)


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
        found = self.head.decode(outputs)
        return Detections(fitting.to_picture(found.boxes), found.scores, found.labels)

    def score(self, predictions: Sequence[Detections]) -> Score:
        found = evaluate_boxes(self.targets, predictions, self.n_classes)
        return Score(found.map50_95, found.map50, found.matches)

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
        found = evaluate_labels(self.labels, np.stack(predictions))
        return Score(found.top1, found.top5, found.correct)

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
        with np.load(path) as arrays:
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
