"""How far the best confidence threshold moved, and whether keeping FP32's costs anything."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.report.wording import interval, known

COLUMNS = (
    "f1_threshold_fp32", "f1_threshold_int8", "f1_fp32", "f1_int8", "f1_int8_at_fp32_threshold",
)  # fmt: skip


@dataclass(frozen=True)
class ConfidenceShift:
    """The thresholds of the best F1, and INT8's F1 at both; the interval is of kept minus own."""

    threshold_fp32: float
    threshold_int8: float
    f1_fp32: float
    f1_int8: float
    f1_kept: float
    low: float | None
    high: float | None

    @property
    def real(self) -> bool:
        """Whether keeping FP32's threshold is proven to lose."""
        return self.high is not None and self.high < 0

    @property
    def sentence(self) -> str:
        return (
            f"F1 is best at confidence {self.threshold_fp32:.2f} in FP32 ({self.f1_fp32:.3f}) and "
            f"{self.threshold_int8:.2f} in INT8 ({self.f1_int8:.3f}). Keeping FP32's threshold, "
            f"INT8 has {self.f1_kept:.3f}: "
            + ("a real loss" if self.real else "no loss is proven")
            + f" (kept minus own, on images that chose neither: {interval(self.low, self.high)})."
        )


def shift_of(row: pd.Series) -> ConfidenceShift | None:
    """Of a tidy row; None for a classifier, and for rows from before it was measured."""
    if row[list(COLUMNS)].isna().any():
        return None
    fp32, int8, f1_fp32, f1_int8, kept = (float(row[name]) for name in COLUMNS)
    ends = (known(row["f1_kept_ci_low"]), known(row["f1_kept_ci_high"]))
    return ConfidenceShift(fp32, int8, f1_fp32, f1_int8, kept, *ends)
