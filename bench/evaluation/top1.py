"""Classification accuracy: Top-1 and Top-5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import DataError, ModelError


@dataclass(frozen=True, eq=False)
class ClassificationScore:
    """Shares in [0, 1], and ``correct`` (n,) bool: whether each image's first guess is right.

    ``top5`` is nan for five classes or fewer, where any guess would reach 1.
    """

    top1: float
    top5: float
    correct: npt.NDArray[np.bool_]


def evaluate_labels(
    labels: npt.NDArray[np.int64], logits: npt.NDArray[np.floating[Any]]
) -> ClassificationScore:
    """Score ``logits`` (n, n_classes) against class indices ``labels`` (n,).

    Of equal logits the lower class index ranks first, as with ``argmax``: quantized logits tie
    often, and the order must not depend on a sort. A row with a NaN is wrong. Raises ValueError for
    shapes that do not fit, DataError for no images, ModelError for a label without a logit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"labels of shape {labels.shape} for logits of shape {logits.shape}")
    if not len(labels):
        raise DataError("There is no image to evaluate", "Choose at least one validation image.")
    n_classes = logits.shape[1]
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ModelError(
            f"Labels span {labels.min()} to {labels.max()}, but the model has {n_classes} logits",
            "Check that the model and the dataset have the same classes.",
        )
    truth = np.take_along_axis(logits, labels[:, None], axis=1)
    lower = np.arange(n_classes) < labels[:, None]
    rank = ((logits > truth) | ((logits == truth) & lower)).sum(axis=1)
    valid = ~np.isnan(logits).any(axis=1)
    correct = valid & (rank == 0)
    top5 = float((valid & (rank < 5)).mean()) if n_classes > 5 else float("nan")
    return ClassificationScore(float(correct.mean()), top5, correct)
