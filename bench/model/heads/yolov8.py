"""YOLOv8 and YOLO11: one output 1 x (4 + classes) x anchors, decoded, scores after sigmoid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.model.detections import Detections
from bench.model.heads.base import Array, Candidates, Parts, Shape, grid, require_outputs
from bench.model.heads.suppression import Suppression


@dataclass(frozen=True)
class YoloV8Head:
    """Boxes as centre x, centre y, width, height in input pixels (Ultralytics' ONNX export)."""

    suppression: Suppression = field(default_factory=Suppression)
    strides: tuple[int, ...] = (8, 16, 32)
    task: Literal["detection"] = "detection"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        anchors = sum(rows * columns for rows, columns, _ in grid(input_size, self.strides))
        expected = (1, 4 + n_classes, anchors)
        require_outputs("yolov8", shapes, [expected], n_classes)

    def decode(self, outputs: Sequence[Array]) -> Detections:
        # Classes lie one behind the other: asking along them first spares a walk across memory.
        likely = (outputs[0][4:] > self.suppression.score).any(axis=0)
        found = outputs[0][:, likely].T
        return self.suppression(Candidates(corners(found[:, :4]), found[:, 4:]))

    def parts(self, outputs: Sequence[Array]) -> Parts:
        return {"boxes": [outputs[0][:4]], "scores": [outputs[0][4:]]}


def corners(centred: Array) -> Array:
    """Boxes (n, 4) from centre x, centre y, width, height to x1 y1 x2 y2."""
    half = centred[:, 2:] / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)
