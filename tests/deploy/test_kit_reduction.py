"""Raw outputs as a target reduces them, and what is made of them here."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.deploy.kit.reduction import describe_reduction, expand
from bench.deploy.runner.reduce import Reduced
from bench.errors import DataError
from bench.model.heads.base import grid
from bench.model.heads.classifier import Classifier
from bench.model.heads.end_to_end import DetectionsHead, YoloV10Head
from bench.model.heads.yolov5 import YoloV5Head
from bench.model.heads.yolov8 import YoloV8Head
from bench.model.heads.yolox import YoloXHead

SIZE, CLASSES, IMAGES = (64, 64), 5, 3
CELLS = sum(rows * columns for rows, columns, _ in grid(SIZE, (8, 16, 32)))
MAPS = [(1, 5 + CLASSES, rows, columns) for rows, columns, _ in grid(SIZE, (8, 16, 32))]
DETECTORS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "yolov8": (YoloV8Head(), [(1, 4 + CLASSES, CELLS)]),
    "yolov5": (YoloV5Head(), [(1, 3 * CELLS, 5 + CLASSES)]),
    "yolox maps": (YoloXHead(), MAPS),
    "yolox rows": (YoloXHead(), [(1, CELLS, 5 + CLASSES)]),
    "yolov10": (YoloV10Head(), [(1, 30, 6)]),
    "detections": (DetectionsHead(), [(1, 1), (1, 30, 4), (1, 30), (1, 30)]),
}
NOWHERE = Path("results/orin/int8.npz")


def outputs_of(name: str, seed: int) -> list[list[np.ndarray]]:
    """Random outputs of a few images, most scores far below the threshold, some just at it."""
    rng = np.random.default_rng(seed)
    _, shapes = DETECTORS[name]
    images = []
    for _ in range(IMAGES):
        outputs = [rng.uniform(0, 60, shape[1:]).astype(np.float32) for shape in shapes]
        for output in outputs:
            scores = np.float32(10) ** rng.uniform(-7, -0.1, output.shape).astype(np.float32)
            if name == "yolov8":
                output[4:] = scores[4:]
                output[4, :4] = [0.001, np.nextafter(np.float32(0.001), np.float32(1)), np.nan, 1]
                output[0, 3] = np.inf
            elif name in ("yolov5", "yolox rows"):
                output[:, 4:] = np.sqrt(scores[:, 4:])
                output[:, 2:4] /= 20
            elif name == "yolox maps":
                output[4:] = np.log(scores[4:])
                output[2:4] /= 20
            elif name == "yolov10":
                output[:, 4], output[:, 5] = scores[:, 4], rng.integers(0, CLASSES, len(output))
        if name == "detections":
            outputs[0][:] = 12
        images.append(outputs)
    return images


def returned(head: Any, shapes: Sequence[tuple[int, ...]], images: Any) -> tuple[bytes, Any]:
    how = describe_reduction(head, shapes)
    reduced = Reduced(how)
    for outputs in images:
        reduced.add(outputs)
    return reduced.to_bytes(), how


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("seed", range(3))
def test_detections_are_those_of_the_whole_outputs(name: str, seed: int) -> None:
    head, shapes = DETECTORS[name]
    images = outputs_of(name, seed)

    content, how = returned(head, shapes, images)

    for whole, again in zip(images, expand(content, how, IMAGES, NOWHERE), strict=True):
        expected, found = head.decode(whole), head.decode(again)
        assert len(expected.scores) > 0
        assert np.array_equal(found.boxes, expected.boxes)
        assert np.array_equal(found.scores, expected.scores)
        assert np.array_equal(found.labels, expected.labels)


def test_logits_come_back_as_they_were() -> None:
    images = [[np.random.default_rng(i).normal(size=10).astype(np.float32)] for i in range(IMAGES)]

    content, how = returned(Classifier(), [(1, 10)], images)

    again = list(expand(content, how, IMAGES, NOWHERE))
    assert np.array_equal(np.array(again), np.array(images))


def test_what_cannot_be_a_detection_is_not_stored() -> None:
    """A tenth of the cells has one class above the threshold."""
    output = np.full((84, 8400), 1e-5, np.float32)
    output[4, ::10] = 0.5

    content, how = returned(YoloV8Head(), [(1, 84, 8400)], [[output]])

    assert len(content) < output.nbytes / 200
    (again,) = expand(content, how, 1, NOWHERE)
    assert np.count_nonzero(again[0][4:]) == 840


def test_an_image_without_any_cell() -> None:
    nothing = np.zeros((4 + CLASSES, CELLS), np.float32)
    head, shapes = DETECTORS["yolov8"]

    content, how = returned(head, shapes, [[nothing], [nothing]])

    for (again,) in expand(content, how, 2, NOWHERE):
        assert len(head.decode([again]).scores) == 0


def changed(content: bytes, **changes: Any) -> bytes:
    """The file with some of its arrays replaced (None: left out)."""
    with np.load(io.BytesIO(content)) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    kept |= {name.replace("_", ".", 1): own for name, own in changes.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: own for name, own in kept.items() if own is not None})
    return buffer.getvalue()


def test_a_damaged_file_is_one_line() -> None:
    head, shapes = DETECTORS["yolov8"]
    content, how = returned(head, shapes, outputs_of("yolov8", 0))
    with np.load(io.BytesIO(content)) as arrays:
        cells, counts = arrays["0.cells"], arrays["0.cells_per_image"]
        classes, scores = arrays["0.classes"], arrays["0.scores"]
    damaged = {
        "cut": content[: len(content) // 2],
        "text": b"hello",
        "pickle": changed(content, **{"0_cells": np.array([{}], object)}),
        "missing": changed(content, **{"0_scores": None}),
        "kind": changed(content, **{"0_scores": scores.astype(np.float64)}),
        "a cell too far": changed(content, **{"0_cells": np.full_like(cells, CELLS)}),
        "a cell below 0": changed(content, **{"0_cells": np.full_like(cells, -1)}),
        "another class": changed(content, **{"0_classes": np.full_like(classes, CLASSES)}),
        "fewer scores": changed(content, **{"0_scores": scores[1:]}),
        "below 0": changed(content, **{"0_cells_per_image": counts * -1}),
        "fewer images": changed(content, **{"0_cells_per_image": counts[1:]}),
    }
    for what, own in damaged.items():
        with pytest.raises(DataError) as error:
            list(expand(own, how, IMAGES, NOWHERE))
        assert str(NOWHERE) in str(error.value), what
        assert "\n" not in str(error.value), what


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content, how = returned(Classifier(), [(1, 10)], [[np.zeros(10, np.float32)]] * IMAGES)
    monkeypatch.setattr("bench.deploy.kit.reduction.MOST_BYTES", 100)
    with pytest.raises(DataError, match="would unpack to"):
        list(expand(content, how, IMAGES, NOWHERE))
