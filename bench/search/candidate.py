"""A way to calibrate that a search tries."""

from __future__ import annotations

from dataclasses import dataclass

from bench.run.spec import Run


@dataclass(frozen=True, eq=False)
class Candidate:
    """``overrides`` make ``run`` of what was typed, such as calibrator=mse."""

    overrides: tuple[str, ...]
    run: Run

    @property
    def label(self) -> str:
        return " ".join(self.overrides) or f"calibrator={self.run.calibrator.name}"
