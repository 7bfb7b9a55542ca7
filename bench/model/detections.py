"""The output of a detector for one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Detections:
    """Detections of one image, best score first.

    ``boxes`` (n, 4) float32, x1 y1 x2 y2 in pixels of the original image; ``scores`` (n,) float32
    in [0, 1]; ``labels`` (n,) int64 class indices.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    @property
    def finite_scores(self) -> npt.NDArray[np.float32]:
        """(n,) float32: ``scores``, with 0 for values of a broken engine that are not numbers."""
        scores: npt.NDArray[np.float32] = np.where(np.isfinite(self.scores), self.scores, 0).astype(
            np.float32
        )
        return scores
