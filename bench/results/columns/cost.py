"""The cost of calibration."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of calibration."""

    collect_s: float | None = column(
        "FP32 pass with statistics over this calibration set",
        unit="s",
        better="lower",
        default=None,
    )
    threshold_s: float | None = column(
        "computing every amax from the statistics", unit="s", better="lower", default=None
    )
    calibration_batches: int | None = column(
        "batches that TensorRT's native calibrator really consumed", default=None
    )
