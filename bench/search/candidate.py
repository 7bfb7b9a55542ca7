"""A way to calibrate that a search tries."""

from __future__ import annotations

from dataclasses import dataclass

from bench.run.spec import Run


@dataclass(frozen=True, eq=False)
class Candidate:
    """``overrides`` (such as calibrator=mse) added to the typed ones give ``run``."""

    overrides: tuple[str, ...]
    run: Run

    @property
    def label(self) -> str:
        return " ".join(self.overrides) or f"calibrator={self.run.calibrator.name}"
