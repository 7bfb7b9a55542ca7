"""What is kept of a run that loses: whatever the INT8 engine gives, even what is no number."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.data.dataset import BoxTarget
from bench.evaluation.task import ClassificationTask, DetectionTask
from bench.model.detections import Detections
from bench.results.error_analysis import Losses, LossStore
from bench.run.error_analysis import Judged, store_losses

HEAD: Any = None  # what is kept are predictions


def kept(folder: Path, task: Any, fp32: Any, int8: Any) -> tuple[Losses, Any]:
    """Of a run on grey pictures, 100 wide and 50 high."""
    validation = SimpleNamespace(
        fingerprint="f", names=[f"in/{i}.png" for i in range(len(fp32))],
        image=lambda index: np.full((50, 100, 3), index, np.uint8),
    )  # fmt: skip
    dataset = SimpleNamespace(name="grey", class_names=("cat", "dog"), validation=validation)
    run: Any = SimpleNamespace(key="key", dataset=dataset, validation_indices=range(len(fp32)))
    judged = [Judged(found, task.score(found)) for found in (fp32, int8)]
    shift = store_losses(run, folder, task, *judged)
    return LossStore(folder).load("key"), shift


def found(*boxes: list[float], scores: list[float], labels: list[int]) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(corners, np.array(scores, np.float32), np.array(labels, np.int64))


def target(*boxes: list[float], labels: list[int]) -> BoxTarget:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return BoxTarget(corners, np.array(labels, np.int64), areas, np.zeros(len(labels), np.bool_))


LEFT, RIGHT = [0.0, 0.0, 40.0, 40.0], [50.0, 0.0, 90.0, 40.0]
TARGETS = [target(LEFT, RIGHT, labels=[0, 1]), target(LEFT, labels=[0])]
SEEN = [
    found(LEFT, RIGHT, scores=[0.9, 0.8], labels=[0, 1]), found(LEFT, scores=[0.9], labels=[0])
]  # fmt: skip


def test_what_int8_misses_is_drawn_on_the_picture_it_misses_it_on(tmp_path):
    less = [SEEN[0], found(RIGHT, scores=[0.85], labels=[1])]
    losses, shift = kept(tmp_path, DetectionTask(HEAD, TARGETS, 2), SEEN, less)
    assert [(p.name, p.count, p.images) for p in losses.classes] == [("cat", 2, 2), ("dog", 1, 1)]
    assert (losses.worse, losses.better) == (1, 0)
    assert [losses.threshold, shift.fp32] == pytest.approx([0.8, 0.8])
    (example,) = losses.examples
    assert (example.name, example.truth) == ("1.png", "1 cat")
    assert [view.says for view in (example.fp32, example.int8)] == [
        "1 right, 0 wrong, 0 missed", "0 right, 1 wrong, 1 missed"
    ]  # fmt: skip
    wrong, missed = example.int8.boxes
    assert (wrong.kind, wrong.label, wrong.place) == ("wrong", "dog", (0.5, 0, 0.4, 0.8))
    assert (missed.kind, missed.label, missed.place) == ("missed", "cat", (0, 0, 0.4, 0.8))
    picture = LossStore(tmp_path).picture(example.picture)
    assert picture is not None
    assert picture.startswith(b"\xff\xd8")


def test_what_is_no_number_is_kept_as_it_was_judged(tmp_path):
    """An infinite score counts as 0; a box that lies nowhere is wrong, and cannot be drawn."""
    inf, nan = float("inf"), float("nan")
    broken = [
        found(LEFT, RIGHT, scores=[inf, nan], labels=[0, 1]),
        found([nan] * 4, LEFT, scores=[0.95, 0.9], labels=[0, 0]),
    ]
    losses, _ = kept(tmp_path, DetectionTask(HEAD, TARGETS, 2), SEEN, broken)
    first, second = losses.examples
    assert first.int8.says == "0 right, 0 wrong, 2 missed"
    assert second.int8.says == "1 right, 1 wrong, 0 missed"
    assert [box.kind for box in second.int8.boxes] == ["right"]


def test_who_finds_nothing_has_no_pictures_and_no_threshold(tmp_path):
    nothing = [found(scores=[], labels=[])] * 2
    losses, shift = kept(tmp_path, DetectionTask(HEAD, TARGETS, 2), nothing, SEEN)
    assert (losses.threshold, losses.examples, shift) == (None, (), None)
    assert [part.fp32 for part in losses.classes] == [0, 0]


def test_the_clearest_of_what_a_classifier_no_longer_knows_comes_first(tmp_path):
    task = ClassificationTask(HEAD, np.array([0, 0, 1, 1]))
    fp32 = [np.float32(logits) for logits in ([2, 0], [3, 0], [0, 1], [1, 0])]
    int8 = [np.float32(logits) for logits in ([0, 1], [0, 5], [0, 1], [0, 1])]
    losses, shift = kept(tmp_path, task, fp32, int8)
    assert (losses.worse, losses.better, shift) == (2, 1, None)
    assert [e.name for e in losses.examples] == ["1.png", "0.png"]
    told = [(e.truth, e.fp32.says, e.int8.says) for e in losses.examples]
    assert told == [("cat", "cat", "dog")] * 2
