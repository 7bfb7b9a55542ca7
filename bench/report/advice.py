"""What to try where every configuration loses too much: options that the table has not measured."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bench.report.caveats import CLIPPED

MOST = 4


def what_to_try(rows: pd.DataFrame) -> tuple[str, ...]:
    """Overrides with the reason, the best first, for the tidy, measured rows of one group."""
    return tuple(
        advice for untried, advice in _ADVICE if untried(rows)
    )[:MOST] or ("FP16, or training with quantization",)  # fmt: skip


def _lacks(column: str, value: str) -> Callable[[pd.DataFrame], bool]:
    return lambda rows: value not in set(rows[column])


def _clips_input(rows: pd.DataFrame) -> bool:
    clipped = rows["input_amax"] < CLIPPED * rows["input_true_amax"]
    return bool(clipped.any()) and _lacks("input_range", "declared")(rows)


def _is_detector(rows: pd.DataFrame) -> bool:
    return bool((rows["task"] == "detection").any())


_ADVICE: tuple[tuple[Callable[[pd.DataFrame], bool], str], ...] = (
    (_clips_input, "input_range=declared (a calibrator clips the input)"),
    (
        lambda rows: _is_detector(rows) and _lacks("plan", "float_head")(rows),
        "plan=float_head (output layers of detectors lose most)",
    ),
    (_lacks("plan", "float_first_and_head"), "plan=float_first_and_head"),
    (_lacks("plan", "float_depthwise"), "plan=float_depthwise, where there are depthwise layers"),
    (_lacks("calibrator", "mse"), "calibrator=mse"),
    (_lacks("calibrator", "percentile"), "calibrator=percentile"),
    (lambda rows: rows["calibration_size"].max() < 256, "more calibration images"),
)
