"""Networks that give final boxes: their own suppression is inside, or they need none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.errors import ModelError
from bench.model.detections import Detections
from bench.model.heads.base import Array, Parts, Shape, grid, shown


@dataclass(frozen=True)
class YoloV10Head:
    """YOLOv10: one output 1 x boxes x 6, each x1 y1 x2 y2 in input pixels, score, class.

    Trained to give one box an object (Wang et al., arXiv 2405.14458, section 3.1), so nothing is
    suppressed; only boxes above ``score`` count. Ultralytics exports the 300 best.
    """

    score: float = 0.001
    strides: tuple[int, ...] = (8, 16, 32)
    task: Literal["detection"] = "detection"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        if not _are_rows(shapes, _cells(input_size, self.strides)):
            raise _misfit("yolov10", shapes, "one output 1xBOXESx6 (x1 y1 x2 y2 score class)")

    def decode(self, outputs: Sequence[Array]) -> Detections:
        return _from_rows(outputs[0], self.score)

    def parts(self, outputs: Sequence[Array]) -> Parts:
        """See ``_parts_of_rows``: ranks are compared."""
        return _parts_of_rows(outputs[0])


@dataclass(frozen=True)
class DetectionsHead:
    """Models exported with suppression inside, told apart by their output shapes.

    * one output 1 x boxes x 6, rows as YOLOv10's, padded with zeros (Ultralytics, ``nms=True``);
    * four outputs, as TensorRT's EfficientNMS plugin gives: count 1 x 1, boxes 1 x n x 4 (x1 y1 x2
      y2 in input pixels, its box coding 0), scores 1 x n, classes 1 x n; only ``count`` are valid.

    What the export's own score threshold has cut off cannot come back: mAP wants about 0.001.
    """

    score: float = 0.001
    strides: tuple[int, ...] = (8, 16, 32)
    task: Literal["detection"] = "detection"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        if not (_are_rows(shapes, _cells(input_size, self.strides)) or _are_four(shapes)):
            raise _misfit(
                "detections",
                shapes,
                "one output 1xBOXESx6 (x1 y1 x2 y2 score class) or the four of EfficientNMS "
                "(1x1, 1xBOXESx4, 1xBOXES, 1xBOXES)",
            )

    def decode(self, outputs: Sequence[Array]) -> Detections:
        if len(outputs) == 1:
            return _from_rows(outputs[0], self.score)
        count, boxes, scores, classes = outputs
        valid = slice(max(int(count.reshape(-1)[0]), 0))
        return _above(boxes[valid], scores[valid], classes[valid], self.score)

    def parts(self, outputs: Sequence[Array]) -> Parts:
        """See ``_parts_of_rows``: ranks are compared, those beyond ``count`` included."""
        if len(outputs) == 1:
            return _parts_of_rows(outputs[0])
        _, boxes, scores, _ = outputs
        return {"boxes": [boxes], "scores": [scores]}


def _from_rows(rows: Array, score: float) -> Detections:
    return _above(rows[:, :4], rows[:, 4], rows[:, 5], score)


def _parts_of_rows(rows: Array) -> Parts:
    """Boxes and scores of rows that the network has sorted by score, padded with zeros or not.

    Two networks' rows compare rank with rank. Where two scores swap their order, the boxes swap
    too, and an SQNR takes that for noise although no box has moved; a box that only one side shows
    stands against zeros. So the boxes' SQNR is low even where little is lost, and the scores' is
    what tells. Classes are names: to be wrong by one is no less wrong than by ten.
    """
    return {"boxes": [rows[:, :4]], "scores": [rows[:, 4]]}


def _above(boxes: Array, scores: Array, classes: Array, score: float) -> Detections:
    """Whatever INT8 has made of them: NaN never passes, and an infinite box is no box."""
    good = (scores > score) & np.isfinite(boxes).all(1) & np.isfinite(classes)
    (kept,) = np.nonzero(good)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return Detections(
        boxes[kept].astype(np.float32),
        scores[kept].astype(np.float32),
        np.rint(classes[kept]).astype(np.int64),
    )


def _are_rows(shapes: Sequence[Shape], cells: int) -> bool:
    """One output 1 x n x 6, with no more boxes than cells: a YOLOv5 of one class has thrice that.

    How many classes there are no such shape can tell.
    """
    (first, *more) = shapes
    return not more and len(first) == 3 and (first[0], first[2]) == (1, 6) and first[1] <= cells


def _are_four(shapes: Sequence[Shape]) -> bool:
    if len(shapes) != 4 or len(shapes[1]) != 3:
        return False
    n = shapes[1][1]
    return list(shapes) == [(1, 1), (1, n, 4), (1, n), (1, n)]


def _cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    return sum(rows * columns for rows, columns, _ in grid(size, strides))


def _misfit(head: str, shapes: Sequence[Shape], needed: str) -> ModelError:
    return ModelError(
        f"the model's outputs ({shown(shapes)}) do not fit head {head}, which needs {needed}",
        "Choose model.head to fit the model",
    )
