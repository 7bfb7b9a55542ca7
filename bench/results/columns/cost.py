"""What calibration takes."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results.column import column


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What calibration takes."""

    collect_s: float | None = column(
        "FP32 pass with statistics over this calibration set",
        unit="s",
        better="lower",
        default=None,
    )
    threshold_s: float | None = column(
        "finding every amax from the statistics", unit="s", better="lower", default=None
    )
    calibration_batches: int | None = column(
        "batches that TensorRT's own calibrator really consumed", default=None
    )
