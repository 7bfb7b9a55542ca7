"""YOLOX: one raw map per stride, 1 x (5 + classes) x rows x columns, before sigmoid and grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.model.detections import Detections
from bench.model.heads.base import Array, Candidates, Shape, grid, require_outputs
from bench.model.heads.suppression import Suppression


@dataclass(frozen=True)
class YoloXHead:
    """Per cell of stride s: centre = (t_xy + grid) s, size = exp(t_wh) s, score =
    sigmoid(objectness) sigmoid(class). Ge et al., "YOLOX", arXiv 2107.08430, section 2.1."""

    suppression: Suppression = field(
        default_factory=lambda: Suppression(iou=0.65, several_labels=False)
    )
    strides: tuple[int, ...] = (8, 16, 32)
    task: Literal["detection"] = "detection"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        maps = grid(input_size, self.strides)
        expected = [(1, 5 + n_classes, rows, columns) for rows, columns, _ in maps]
        require_outputs("yolox", shapes, expected, n_classes)

    def decode(self, outputs: Sequence[Array]) -> Detections:
        decoded = [
            self._decode_map(output, stride)
            for output, stride in zip(outputs, self.strides, strict=True)
        ]
        return self.suppression(
            Candidates(
                np.concatenate([boxes for boxes, _ in decoded]),
                np.concatenate([scores for _, scores in decoded]),
            )
        )

    def _decode_map(self, output: Array, stride: int) -> tuple[Array, Array]:
        _, rows, columns = output.shape
        y, x = np.mgrid[:rows, :columns].astype(np.float32)
        flat = output.reshape(len(output), -1)
        centre = (flat[:2] + np.stack([x, y]).reshape(2, -1)) * stride
        half = np.exp(np.minimum(flat[2:4], 20)) * stride / 2
        scores = _sigmoid(flat[4:5]) * _sigmoid(flat[5:])
        return np.concatenate([centre - half, centre + half]).T, scores.T


def _sigmoid(x: Array) -> Array:
    return np.float32(1) / (np.float32(1) + np.exp(-np.clip(x, -60, 60)))
