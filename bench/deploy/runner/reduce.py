"""Raw outputs reduced to what can become a prediction, so that they travel as a small file.

Suppression and scoring happen back home, with the project's own evaluation. Of a detector whose
scores are mostly far below the threshold, only cells with a score above it are stored, and of these
only the classes above it. A margin of 1 % keeps what another rounding might let through.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

MARGIN = 0.99


class Reduced:
    """Collects the outputs of images, in their order; ``how`` is the kit's ``reduction``."""

    def __init__(self, how: dict[str, Any]) -> None:
        self._how = how
        self._kept: dict[str, list[Any]] = {}

    def add(self, outputs: list[Any]) -> None:
        """The outputs of one image, the batch axis cut off."""
        for number, output in enumerate(outputs):
            values = np.ascontiguousarray(output, np.float32)
            if self._how["kind"] == "whole":
                self._keep(f"{number}.whole", values[None])
            else:
                self._add_cells(number, values)

    def _add_cells(self, number: int, values: Any) -> None:
        how = self._how["outputs"][number]
        channels = int(how["channels"])
        cells = values.reshape(channels, -1) if how["channels_first"] else values.T
        first = int(how["first_class"])
        scores = _probability(cells[first:], how["sigmoid"])
        if how["objectness"] is not None:
            scores = scores * _probability(cells[how["objectness"]], how["sigmoid"])
        found = scores > MARGIN * float(self._how["threshold"])  # NaN never is
        (kept,) = np.nonzero(found.any(axis=0))
        where, classes = np.nonzero(found[:, kept].T)
        self._keep(f"{number}.cells_per_image", np.array([len(kept)], np.int32))
        self._keep(f"{number}.cells", kept.astype(np.int32))
        self._keep(f"{number}.fixed", cells[:first, kept].T)
        per_cell = np.bincount(where, minlength=len(kept)).astype(np.uint16)
        self._keep(f"{number}.classes_per_cell", per_cell)
        self._keep(f"{number}.classes", classes.astype(np.uint16))
        self._keep(f"{number}.scores", cells[first:, kept].T[where, classes])

    def _keep(self, name: str, values: Any) -> None:
        self._kept.setdefault(name, []).append(np.array(values))

    def to_bytes(self) -> bytes:
        """Everything as one npz file, without pickles."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, **{name: np.concatenate(parts) for name, parts in self._kept.items()}
        )
        return buffer.getvalue()


def _probability(values: Any, sigmoid: bool) -> Any:
    if not sigmoid:
        return values
    return np.float32(1) / (np.float32(1) + np.exp(-np.clip(values, -60, 60)))
