"""What a target keeps of raw outputs, told as data, and the outputs made of that again at home."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import DataError
from bench.model.heads.base import Array, Head, Shape
from bench.model.heads.yolov5 import YoloV5Head
from bench.model.heads.yolov8 import YoloV8Head
from bench.model.heads.yolox import YoloXHead
from bench.sealed import UNREADABLE_ARRAYS

SILENT = -60.0
"""A raw score that stands for none: its sigmoid is 1e-26."""

MOST_BYTES = 4 << 30
"""Of a file that comes back, unpacked."""

_PARTS: Mapping[str, tuple[Any, int]] = {
    "cells_per_image": (np.int32, 1),
    "cells": (np.int32, 1),
    "fixed": (np.float32, 2),
    "classes_per_cell": (np.uint16, 1),
    "classes": (np.uint16, 1),
    "scores": (np.float32, 1),
}


def describe_reduction(head: Head, shapes: Sequence[Shape]) -> dict[str, Any]:
    """How a target reduces outputs of these shapes (batch 1); heads that it does not know, and
    those whose outputs are small, keep everything."""
    layout: list[tuple[bool, int | None, bool]]
    match head:
        case YoloV8Head():
            layout = [(True, None, False)]
        case YoloV5Head():
            layout = [(False, 4, False)]
        case YoloXHead() if len(shapes) == 1:
            layout = [(False, 4, False)]
        case YoloXHead():
            layout = [(True, 4, True)] * len(shapes)
        case _:
            return {"kind": "whole", "shapes": [list(shape[1:]) for shape in shapes]}
    return {
        "kind": "cells",
        "threshold": head.suppression.score,
        "shapes": [list(shape[1:]) for shape in shapes],
        "outputs": [
            {
                "channels": shape[1] if channels_first else shape[2],
                "channels_first": channels_first,
                "objectness": objectness,
                "first_class": 4 if objectness is None else 5,
                "sigmoid": sigmoid,
            }
            for shape, (channels_first, objectness, sigmoid) in zip(shapes, layout, strict=True)
        ],
    }


def expand(
    content: bytes, how: Mapping[str, Any], n_images: int, path: Path
) -> Iterator[Sequence[Array]]:
    """The outputs of each image in turn, as far as they can become predictions.

    ``content`` is a file that came back: DataError, in one line, for anything but what ``how``
    (from the record of the kit, not from the target) lets a target write.
    """
    arrays = _load(content, path)
    shapes = [tuple(int(side) for side in shape) for shape in how["shapes"]]
    if how["kind"] == "whole":
        whole = [
            _require(arrays, f"{number}.whole", np.float32, (n_images, *shape), path)
            for number, shape in enumerate(shapes)
        ]
        for index in range(n_images):
            yield [output[index] for output in whole]
        return
    parts = [
        _Cells(arrays, number, shape, own, n_images, path)
        for number, (shape, own) in enumerate(zip(shapes, how["outputs"], strict=True))
    ]
    for index in range(n_images):
        yield [own.image(index) for own in parts]


class _Cells:
    """One output's cells, checked against each other and against the output's shape."""

    def __init__(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        number: int,
        shape: Shape,
        how: Mapping[str, Any],
        n_images: int,
        path: Path,
    ) -> None:
        self._shape, self._how = shape, how
        self._first, channels = int(how["first_class"]), int(how["channels"])
        self._n_cells, n_classes = math.prod(shape) // channels, channels - self._first
        own = {
            name: _require(arrays, f"{number}.{name}", kind, (None,) * rank, path)
            for name, (kind, rank) in _PARTS.items()
        }
        self._ends = np.concatenate([[0], np.cumsum(own["cells_per_image"], dtype=np.int64)])
        self._pair_ends = np.concatenate([[0], np.cumsum(own["classes_per_cell"], dtype=np.int64)])
        self._cells, self._fixed = own["cells"], own["fixed"]
        self._classes, self._scores = own["classes"], own["scores"]
        count, pairs = len(self._cells), len(self._classes)
        fits = (
            len(own["cells_per_image"]) == n_images
            and bool((own["cells_per_image"] >= 0).all())
            and self._ends[-1] == count
            and self._fixed.shape == (count, self._first)
            and len(own["classes_per_cell"]) == count
            and self._pair_ends[-1] == pairs == len(self._scores)
            and bool(((self._cells >= 0) & (self._cells < self._n_cells)).all())
            and bool((self._classes < n_classes).all())
        )
        if not fits:
            raise _damaged(path, f"the parts of output {number} do not fit each other")

    def image(self, index: int) -> Array:
        """The output of one image: what was not stored is silent."""
        silent = SILENT if self._how["sigmoid"] else 0.0
        channels = int(self._how["channels"])
        dense = np.full((channels, self._n_cells), silent, np.float32)
        dense[:4] = 0
        start, end = self._ends[index : index + 2]
        cells = self._cells[start:end]
        dense[: self._first, cells] = self._fixed[start:end].T
        pairs = slice(self._pair_ends[start], self._pair_ends[end])
        per_cell = np.diff(self._pair_ends[start : end + 1])
        dense[self._first + self._classes[pairs], np.repeat(cells, per_cell)] = self._scores[pairs]
        if self._how["channels_first"]:
            return dense.reshape(self._shape)
        return np.ascontiguousarray(dense.T)


def _load(content: bytes, path: Path) -> Mapping[str, npt.NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MOST_BYTES:
            raise _damaged(path, f"it would unpack to {size:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except DataError:
        raise
    except UNREADABLE_ARRAYS as error:
        raise _damaged(path, " ".join(str(error).split())) from error


def _require(
    arrays: Mapping[str, npt.NDArray[Any]],
    name: str,
    kind: Any,
    shape: Sequence[int | None],
    path: Path,
) -> npt.NDArray[Any]:
    own = arrays.get(name)
    if own is None:
        raise _damaged(path, f"it has no {name}")
    fits = len(own.shape) == len(shape) and all(
        wanted in (None, side) for wanted, side in zip(shape, own.shape, strict=True)
    )
    if own.dtype != np.dtype(kind) or not fits:
        raise _damaged(path, f"{name} is {own.dtype} {own.shape}")
    return own


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is not what a target writes ({reason})", "Copy it from the target again"
    )
