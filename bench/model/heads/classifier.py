"""Classifiers: one output 1 x classes, logits or probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.errors import ModelError
from bench.model.heads.base import Array, Shape, shown


@dataclass(frozen=True)
class Classifier:
    """The class with the largest output wins."""

    task: Literal["classification"] = "classification"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        if list(shapes) != [(1, n_classes)]:
            raise ModelError(
                f"the model's outputs ({shown(shapes)}) do not fit head classifier with "
                f"{n_classes} classes, which needs {shown([(1, n_classes)])}",
                "Choose model.head to fit the model, and a dataset with the model's classes",
            )

    def logits(self, outputs: Sequence[Array]) -> Array:
        return outputs[0]
