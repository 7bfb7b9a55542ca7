"""The command that makes a table again, read off its axes."""

from __future__ import annotations

import re
import shlex

import pandas as pd

from bench.report.wording import plain, tidy

OVERRIDES = {
    "calibration_size": "calibration.size",
    "calibration_seed": "calibration.seed",
    "calibration_preprocess": "calibration.preprocess",
    "input_range": "input_range",
    "plan": "plan",
    "placement": "placement",
    "engine": "engine",
    "batch_size": "evaluation.batch_size",
}
"""Columns and the Hydra overrides that sweep them; model, dataset and calibrator come first."""


def reproduce_command(table: pd.DataFrame) -> str:
    """``python -m bench --multirun ...`` over the axes of this table.

    One line where one can say it: a calibrator with parameters takes a line of its own, since
    the others do not know its keys. A table that is no full product is covered, not matched.
    """
    rows = tidy(table)
    start = [
        "python -m bench --multirun",
        *(_sweep(name, rows[name]) for name in ("model", "dataset")),
    ]
    end = [_sweep(override, rows[name]) for name, override in OVERRIDES.items()]
    bare = rows["calibrator_params"] == ""
    calibrators = [_sweep("calibrator", rows[bare]["calibrator"])] if bare.any() else []
    for _, own in rows[~bare].groupby("calibrator", sort=False):
        name = _sweep("calibrator", own["calibrator"])
        calibrators.append(f"{name} {_parameters(own['calibrator_params'])}")
    return "\n".join(" ".join([*start, calibrator, *end]) for calibrator in calibrators)


def _sweep(override: str, values: pd.Series) -> str:
    """``override=a,b``, each value once, quoted for a shell where it needs it."""
    return f"{override}={','.join(shlex.quote(plain(value)) for value in values.unique())}"


def _parameters(params: pd.Series) -> str:
    """``percentile=99.9`` and ``percentile=99.99`` as ``calibrator.percentile=99.9,99.99``."""
    values: dict[str, dict[str, None]] = {}
    for pair in re.split(r"[,;\s]+", " ".join(params.unique()).strip()):
        key, _, value = pair.partition("=")
        values.setdefault(key, {})[value] = None
    return " ".join(
        shlex.quote(f"calibrator.{key}={','.join(values[key])}") for key in values if key
    )
