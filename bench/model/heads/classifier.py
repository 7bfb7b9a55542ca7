"""Classifiers: one output 1 x classes, logits or probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.model.heads.base import Array, Parts, Shape, require_outputs


@dataclass(frozen=True)
class Classifier:
    """The class with the largest output wins."""

    task: Literal["classification"] = "classification"

    def check(self, shapes: Sequence[Shape], input_size: tuple[int, int], n_classes: int) -> None:
        require_outputs("classifier", shapes, [(1, n_classes)], n_classes)

    def logits(self, outputs: Sequence[Array]) -> Array:
        return outputs[0]

    def parts(self, outputs: Sequence[Array]) -> Parts:
        return {"logits": outputs}
