"""YOLOv5: one output 1 x anchors x (5 + classes), decoded, objectness and classes after sigmoid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.model.detections import Detections
from bench.model.heads.base import Array, Candidates, Parts, Shape, grid, require_outputs
from bench.model.heads.suppression import Suppression
from bench.model.heads.yolov8 import corners


@dataclass(frozen=True)
class YoloV5Head:
    """Three anchors a cell; the score of a class is objectness times class."""

    suppression: Suppression = field(default_factory=Suppression)
    strides: tuple[int, ...] = (8, 16, 32)
    task: Literal["detection"] = "detection"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        cells = sum(rows * columns for rows, columns, _ in grid(input_size, self.strides))
        expected = (1, 3 * cells, 5 + n_classes)
        require_outputs("yolov5", shapes, [expected], n_classes)

    def decode(self, outputs: Sequence[Array]) -> Detections:
        # Cells without an object cannot reach the threshold: a product is at most one factor.
        likely = outputs[0][outputs[0][:, 4] > self.suppression.score]
        return self.suppression(Candidates(corners(likely[:, :4]), likely[:, 4:5] * likely[:, 5:]))

    def parts(self, outputs: Sequence[Array]) -> Parts:
        """Objectness is a score: a class counts for what both make of it."""
        return {"boxes": [outputs[0][:, :4]], "scores": [outputs[0][:, 4:]]}
