"""Where a run loses: which classes and sizes, at which threshold, on which pictures.

The row has one number. The file beside it shows what that number means for a user. It is written
while images and labels are available: a report has only the sweep's folder.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Pil

from bench.cache import content_key
from bench.data.dataset import BoxTarget, Image
from bench.evaluation.interval import over_images, rule_of_three
from bench.evaluation.matches import MatchTable
from bench.evaluation.mistakes import missed, mistakes_at, to_find, verdicts_of
from bench.evaluation.operating_point import ThresholdShift, find_shift
from bench.evaluation.task import ClassificationTask, DetectionTask, Score, Task
from bench.model.detections import Detections
from bench.results.error_analysis import (
    LONGER_SIDE,
    Box,
    Example,
    Kind,
    Losses,
    LossStore,
    Part,
    View,
)
from bench.run.spec import Run

EXAMPLES = 4


@dataclass(frozen=True, eq=False)
class Judged:
    """A system's predictions for every validation image, and their score."""

    predictions: Sequence[Any]
    score: Score


def store_losses(
    run: Run, folder: Path, task: Task[Any], fp32: Judged, int8: Judged
) -> ThresholdShift | None:
    """Store under ``folder`` where the run loses; returns how a detector's threshold shifts."""
    store = LossStore(folder)
    shift = None
    if isinstance(task, DetectionTask):
        losses, shift = _detection(run, store, task, fp32, int8)
    else:
        assert isinstance(task, ClassificationTask)
        losses = _classification(run, store, task, fp32, int8)
    store.add(run.key, losses)
    return shift


def _detection(
    run: Run, store: LossStore, task: DetectionTask, fp32: Judged, int8: Judged
) -> tuple[Losses, ThresholdShift | None]:
    before, after = fp32.score.judged, int8.score.judged
    assert isinstance(before, MatchTable) and isinstance(after, MatchTable)
    sizes = tuple(
        Part(old.name, old.n_objects, old.value, new.value)
        for old, new in zip(fp32.score.sizes, int8.score.sizes, strict=True)
        if old.n_objects
    )
    classes = _classes(run, fp32.score, int8.score)
    threshold = fp32.score.operating_point.best
    if threshold is None:  # FP32 detects nothing: there is no loss to show
        return Losses("object", 0, 0, classes=classes, sizes=sizes), None
    more = mistakes_at(after, threshold) - mistakes_at(before, threshold)
    names = run.dataset.class_names
    examples = []
    for image in _worst(more):
        target, picture = task.targets[image], _keep_picture(run, store, image)
        views = (
            _view(names, picture, target, system.predictions[image], verdicts, threshold)
            for system, matches in ((fp32, before), (int8, after))
            for verdicts in [verdicts_of(matches, image, system.predictions[image])]
        )
        examples.append(Example(*picture, _objects(names, target), *views))
    losses = Losses(
        "object", int((more > 0).sum()), int((more < 0).sum()), threshold, classes, sizes,
        tuple(examples),
    )  # fmt: skip
    return losses, find_shift(fp32.score.operating_point, int8.score.operating_point)


def _classification(
    run: Run, store: LossStore, task: ClassificationTask, fp32: Judged, int8: Judged
) -> Losses:
    right, still = np.asarray(fp32.score.judged), np.asarray(int8.score.judged)
    drop = _margins(task.labels, fp32.predictions) - _margins(task.labels, int8.predictions)
    names = run.dataset.class_names
    examples = [
        Example(
            *_keep_picture(run, store, image),
            names[int(task.labels[image])],
            *(View(names[int(np.argmax(system.predictions[image]))]) for system in (fp32, int8)),
        )
        for image in _worst(np.where(right & ~still, drop, 0))
    ]
    return Losses(
        "image",
        int((right & ~still).sum()),
        int((still & ~right).sum()),
        classes=_classes(run, fp32.score, int8.score),
        examples=tuple(examples),
    )


def _classes(run: Run, fp32: Score, int8: Score) -> tuple[Part, ...]:
    """Every class that occurs, with the interval of its difference."""
    counts, images = fp32.class_counts, fp32.class_images
    before, after = fp32.class_values, int8.class_values
    parts = []
    for label in np.flatnonzero(counts).tolist():
        difference, n_images = float(after[label] - before[label]), int(images[label])
        halves = int8.class_replicates[:, label] - fp32.class_replicates[:, label]
        least = 0.0 if fp32.classes is None else rule_of_three(n_images)
        interval = over_images(difference, halves, n_images, least).interval(difference)
        low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
        name, count = run.dataset.class_names[label], int(counts[label])
        values = float(before[label]), float(after[label])
        parts.append(Part(name, count, *values, low, high, n_images))
    return tuple(parts)


def _worst(more: npt.NDArray[Any]) -> list[int]:
    """The images with the largest positive values, the first of equal ones."""
    order = np.argsort(-np.nan_to_num(more.astype(np.float64)), kind="stable")[:EXAMPLES]
    return [image for image in order.tolist() if more[image] > 0]


def _margins(
    labels: npt.NDArray[np.int64], logits: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float64]:
    """(n_images,): the logit of the right class minus the largest other logit."""
    table = np.stack(logits).astype(np.float64)
    rows = np.arange(len(labels))
    right = table[rows, labels]
    table[rows, labels] = -np.inf
    margins: npt.NDArray[np.float64] = right - table.max(axis=1)
    return margins


class _Picture(NamedTuple):
    """An image's name, the name of its stored picture, and its size in pixels."""

    name: str
    key: str
    width: int
    height: int


def _keep_picture(run: Run, store: LossStore, image: int) -> _Picture:
    """The example of evaluated image number ``image``."""
    samples, index = run.dataset.validation, run.validation_indices[image]
    pixels = samples.image(index)
    key = content_key(run.dataset.name, samples.fingerprint, index, LONGER_SIDE)
    store.add_picture(key, partial(_thumbnail, pixels))
    height, width = pixels.shape[:2]
    return _Picture(Path(samples.names[index]).name, key, width, height)


def _thumbnail(picture: Image) -> bytes:
    small = Pil.fromarray(picture)
    small.thumbnail((LONGER_SIDE, LONGER_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def _view(
    names: Sequence[str],
    picture: _Picture,
    target: BoxTarget,
    detections: Detections,
    verdicts: npt.NDArray[np.int8],
    threshold: float,
) -> View:
    """The detections with a score of at least ``threshold``, and the missed objects."""
    size = np.array([picture.width, picture.height])

    def box(corners: npt.NDArray[np.float32], label: int, kind: Kind, score: Any = None) -> Box:
        low, high = corners[:2] / size, corners[2:] / size
        left, top, width, height = np.round([*low, *(high - low)], 4).tolist()
        return Box((left, top, width, height), names[label], kind, score)

    scores, drawn = detections.finite_scores, np.isfinite(detections.boxes).all(axis=1)
    believed = scores >= np.float32(threshold)
    right, wrong = believed & (verdicts == 1), believed & (verdicts == 0)
    open_ = missed(
        target,
        Detections(detections.boxes[right], detections.scores[right], detections.labels[right]),
    )
    kinds: tuple[tuple[Kind, npt.NDArray[np.bool_]], ...] = (("right", right), ("wrong", wrong))
    boxes = [
        box(detections.boxes[i], int(detections.labels[i]), kind, round(float(scores[i]), 3))
        for kind, of_kind in kinds
        for i in np.flatnonzero(of_kind & drawn)
    ]
    boxes += [box(target.boxes[i], int(target.labels[i]), "missed") for i in open_]
    says = f"{int(right.sum())} right, {int(wrong.sum())} wrong, {len(open_)} missed"
    return View(says, tuple(boxes))


def _objects(names: Sequence[str], target: BoxTarget) -> str:
    """The objects to detect, as in "2 circle, 1 star"."""
    class_names = [names[label] for label in target.labels[to_find(target)]]
    return (
        ", ".join(f"{class_names.count(name)} {name}" for name in dict.fromkeys(class_names))
        or "nothing"
    )
