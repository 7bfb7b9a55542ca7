"""The second source of variance: the calibration images, drawn with different seeds."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.report.wording import plural, signed


@dataclass(frozen=True)
class SeedSpread:
    """The results of one configuration with ``count`` calibration sets."""

    count: int
    int8_low: float
    int8_high: float
    delta_low: float
    delta_high: float

    @property
    def accuracies(self) -> str:
        """As in "3 calibration sets: 0.426 to 0.437"."""
        return f"{self._sets}: {self.int8_low:.3f} to {self.int8_high:.3f}"

    @property
    def differences(self) -> str:
        return f"{self._sets}: {self.range}"

    @property
    def range(self) -> str:
        return f"{signed(self.delta_low)} to {signed(self.delta_high)}"

    @property
    def _sets(self) -> str:
        return plural(self.count, "calibration set")


def seed_spread(rows: pd.DataFrame) -> SeedSpread | None:
    """The spread over the rows of one configuration; None for a single seed."""
    count = int(rows["calibration_seed"].nunique())
    if count < 2:
        return None
    int8, delta = rows["int8"], rows["delta"]
    return SeedSpread(
        count, float(int8.min()), float(int8.max()), float(delta.min()), float(delta.max())
    )
