"""The whole range: nothing seen during calibration is clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.calibration.statistics import Snapshot


@dataclass(frozen=True)
class MinMax:
    """amax = max |x|, as TensorRT's ``IInt8MinMaxCalibrator`` and "max" in NVIDIA ModelOpt."""

    name: ClassVar[str] = "minmax"
    params: ClassVar[str] = ""

    def amax(self, snapshot: Snapshot) -> float:
        """The largest magnitude seen."""
        return snapshot.amax
