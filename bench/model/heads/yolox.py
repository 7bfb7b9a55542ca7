"""YOLOX: raw maps, one a stride, or what its own export makes of them in a single output."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.model.detections import Detections
from bench.model.heads.base import Array, Candidates, Parts, Shape, grid, require_outputs
from bench.model.heads.suppression import Suppression


@dataclass(frozen=True)
class YoloXHead:
    """Per cell of stride s: centre = (t_xy + grid) s, size = exp(t_wh) s, score =
    sigmoid(objectness) sigmoid(class). Ge et al., "YOLOX", arXiv 2107.08430, section 2.1.

    Two layouts, told apart by their number of outputs: 1 x (5 + classes) x rows x columns for each
    stride, all raw; or 1 x cells x (5 + classes), the strides in a row, boxes raw and scores after
    the sigmoid (``tools/export_onnx.py`` of Megvii's repository, and the files of its releases).
    The second does not tell rows from columns, so its input must be square.
    """

    suppression: Suppression = field(
        default_factory=lambda: Suppression(iou=0.65, several_labels=False)
    )
    strides: tuple[int, ...] = (8, 16, 32)
    task: Literal["detection"] = "detection"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        maps = grid(input_size, self.strides)
        expected: list[Shape] = [(1, 5 + n_classes, rows, columns) for rows, columns, _ in maps]
        if len(shapes) == 1 and input_size[0] == input_size[1]:
            expected = [(1, sum(rows * columns for rows, columns, _ in maps), 5 + n_classes)]
        require_outputs("yolox", shapes, expected, n_classes)

    def decode(self, outputs: Sequence[Array]) -> Detections:
        if len(outputs) == 1:
            decoded = list(self._decode_rows(outputs[0]))
        else:
            decoded = [
                _decode(output.reshape(len(output), -1), output.shape[1:], stride, _sigmoid)
                for output, stride in zip(outputs, self.strides, strict=True)
            ]
        return self.suppression(
            Candidates(
                np.concatenate([boxes for boxes, _ in decoded]),
                np.concatenate([scores for _, scores in decoded]),
            )
        )

    def parts(self, outputs: Sequence[Array]) -> Parts:
        """Boxes are offsets in strides and logarithms of sizes; objectness is a score."""
        # Channels come first in maps, and last where cells are rows.
        channels = outputs if len(outputs) > 1 else [outputs[0].T]
        return {"boxes": [own[:4] for own in channels], "scores": [own[4:] for own in channels]}

    def _decode_rows(self, rows: Array) -> Iterator[tuple[Array, Array]]:
        area = len(rows) / sum(1 / stride**2 for stride in self.strides)
        side, start = round(math.sqrt(area)), 0
        for height, width, stride in grid((side, side), self.strides):
            end = start + height * width
            yield _decode(rows[start:end].T, (height, width), stride, lambda scores: scores)
            start = end


def _decode(
    flat: Array, cells: tuple[int, ...], stride: int, squash: Callable[[Array], Array]
) -> tuple[Array, Array]:
    """Boxes (cells, 4) and scores (cells, classes) of one map, (5 + classes, cells)."""
    y, x = np.mgrid[: cells[0], : cells[1]].astype(np.float32)
    centre = (flat[:2] + np.stack([x, y]).reshape(2, -1)) * stride
    half = np.exp(np.minimum(flat[2:4], 20)) * stride / 2
    scores = squash(flat[4:5]) * squash(flat[5:])
    return np.concatenate([centre - half, centre + half]).T, scores.T


def _sigmoid(x: Array) -> Array:
    return np.float32(1) / (np.float32(1) + np.exp(-np.clip(x, -60, 60)))
