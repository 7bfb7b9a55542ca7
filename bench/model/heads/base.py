"""What turns a network's raw outputs into an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from bench.errors import ModelError
from bench.model.detections import Detections

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]
Parts = Mapping[str, Sequence[Array]]
"""Raw outputs by what they hold, as views: "boxes" and "scores" of a detector, or "logits"."""


@dataclass(frozen=True)
class Candidates:
    """Boxes before suppression: ``boxes`` (n, 4) x1 y1 x2 y2, input pixels; ``scores`` (n, nc)."""

    boxes: Array
    scores: Array


class DetectionHead(Protocol):
    """A detector's outputs to detections in input pixels."""

    task: Literal["detection"]

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        """Raise ModelError unless outputs of these shapes (batch 1) can be this head's."""

    def decode(self, outputs: Sequence[Array]) -> Detections:
        """Detections of one image, from its outputs with the batch axis cut off."""
        ...

    def parts(self, outputs: Sequence[Array]) -> Parts:
        """The same outputs as ``boxes`` and ``scores``, for comparisons of the raw values.

        Boxes in pixels are hundreds of times larger than scores, in which alone they drown. Each
        part holds one array per output that has some of it.
        """
        ...


class ClassifierHead(Protocol):
    """A classifier's outputs to logits."""

    task: Literal["classification"]

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        """Raise ModelError unless outputs of these shapes (batch 1) can be this head's."""

    def logits(self, outputs: Sequence[Array]) -> Array:
        """Scores of the classes (n_classes,) of one image; only their order matters."""
        ...

    def parts(self, outputs: Sequence[Array]) -> Parts:
        """The same outputs as ``logits``."""
        ...


Head = DetectionHead | ClassifierHead


def shown(shapes: Sequence[Shape]) -> str:
    """Output shapes as a user writes them: '1x84x8400'."""
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def require_outputs(
    head: str, shapes: Sequence[Shape], expected: Sequence[Shape], n_classes: int
) -> None:
    """Raise ModelError unless the model's output shapes are the expected ones."""
    if list(shapes) != list(expected):
        raise ModelError(
            f"the model's outputs ({shown(shapes)}) do not fit head {head} with {n_classes} "
            f"classes, which needs {shown(expected)}",
            "Choose model.head to fit the model, and a dataset with the model's classes",
        )


def grid(size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int, int]]:
    """(rows, columns, stride) of each of a detector's feature maps."""
    return [(size[0] // stride, size[1] // stride, stride) for stride in strides]


def no_detections() -> Detections:
    empty: Any = np.empty
    return Detections(empty((0, 4), np.float32), empty(0, np.float32), empty(0, np.int64))
