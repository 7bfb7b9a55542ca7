"""How well this machine foretold what targets measured: INT8 there beside INT8 computed here.

Both are of the same Q/DQ file on the same images. Here it was computed exactly; there an engine ran
it, which may fuse and round otherwise, or read the ranges of a calibration cache instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from bench.claims.judgements import Difference, Judgements, Record, records_of
from bench.evaluation.estimate import Interval
from bench.evaluation.interval import FEWEST_PER_CLASS
from bench.report.wording import GROUP, group_name, interval, known, measured, plural, signed

FROM = {False: "Q/DQ files", True: "calibration caches"}
"""What the engines were built from: by whether TensorRT placed INT8 itself."""

FEWEST_FOR_ORDER = 4
"""Rows: of fewer the order says nothing."""


@dataclass(frozen=True)
class ForetoldRow:
    """One configuration: INT8 as it was computed here and measured there, and by how much they
    differ, with the 95 % interval over images."""

    run_key: str
    name: str
    predicted: float
    measured: float
    interval: str

    @property
    def difference(self) -> float:
        return self.measured - self.predicted


@dataclass(frozen=True)
class Foretold:
    """All rows of one target. ``mean`` is that of their differences, there minus here, with its 95
    % interval over images; ``order`` is Spearman's rank correlation, None of too few rows."""

    group: str
    metric: str
    device: str
    rows: tuple[ForetoldRow, ...]
    mean: Interval
    order: float | None
    floats: str
    few_images: str

    @property
    def headline(self) -> str:
        """The figure, and how sure it is."""
        return (
            f"{self.group}: INT8 there differs by {signed(self.mean.estimate, 4)} {self.metric} "
            f"from what this machine computed (95 % interval {self.span}; mean of "
            f"{plural(len(self.rows), 'configuration')})"
        )

    @property
    def span(self) -> str:
        return interval(*self.mean.ends)

    @property
    def farthest(self) -> ForetoldRow:
        return max(self.rows, key=lambda row: abs(row.difference))

    @property
    def detail(self) -> str:
        """How far single rows are off, and whether the choice would be the same."""
        farthest = self.farthest
        parts = [f"The farthest is off by {signed(farthest.difference, 4)}: {farthest.name}."]
        if self.order is not None:
            parts.append(f"Spearman's rank correlation of the two orders is {self.order:.2f}.")
        chosen = max(self.rows, key=lambda row: row.predicted)
        best = max(self.rows, key=lambda row: row.measured)
        if chosen.measured == best.measured:
            parts.append(f"What looks best here is best there: {best.name}.")
        else:
            behind = best.measured - chosen.measured
            parts.append(
                f"What looks best here ({chosen.name}) is {behind:.4f} behind the best there "
                f"({best.name})."
            )
        return " ".join([*parts, *filter(None, (self.floats, self.few_images))])

    @property
    def sentence(self) -> str:
        return f"{self.headline}. {self.detail}"


def find_foretold(tidied: pd.DataFrame, judgements: Judgements) -> tuple[Foretold, ...]:
    """One for each target of each model and dataset, in the order of the table; rows that were
    built from ranges apart from those of Q/DQ files, which say where INT8 is."""
    rows = measured(tidied)
    rows = rows[(rows["measured_on"] != "") & rows["predicted_int8"].notna()]
    by_ranges = rows["engine_options"].str.contains("mode=implicit", regex=False)
    return tuple(
        _foretold(f"{group_name(names)}, {FROM[bool(ranges)]}", records_of(group), judgements)
        for (*names, ranges), group in rows.groupby([*GROUP, by_ranges], sort=False)
    )


def _foretold(group: str, rows: tuple[Record, ...], judgements: Judgements) -> Foretold:
    changes = [_change(row, judgements) for row in rows]
    paired = [change for change in changes if change is not None]
    values = [float(row["int8"]) - float(row["predicted_int8"]) for row in rows]
    mean = Interval(float(np.mean(values)))
    if len(paired) == len(rows):
        mean = judgements.mean_change(paired, int(rows[0]["n_images"]))
    listed = [_row(row, change) for row, change in zip(rows, changes, strict=True)]
    return Foretold(
        group,
        str(rows[0]["metric"]),
        str(rows[0]["device"] or rows[0]["hardware"]),
        tuple(sorted(listed, key=lambda row: -row.predicted)),
        mean,
        _order(listed),
        _floats(rows[0]),
        _few_images(rows[0]),
    )


def _change(row: Record, judgements: Judgements) -> Difference | None:
    value = float(row["int8"]) - float(row["predicted_int8"])
    return judgements.change(value, str(row["run_key"]), str(row["source_key"]))


def _row(row: Record, change: Difference | None) -> ForetoldRow:
    known_ends = change.uncertainty.interval(change.value).ends if change else (None, None)
    seed = int(row["calibration_seed"])
    name = (
        f"{row['calibrator_label']}, {int(row['calibration_size'])} images, "
        f"{row['plan_label']}{f', seed {seed}' if seed else ''}"
    )
    predicted, measured = float(row["predicted_int8"]), float(row["int8"])
    return ForetoldRow(str(row["run_key"]), name, predicted, measured, interval(*known_ends))


def _order(rows: list[ForetoldRow]) -> float | None:
    if len(rows) < FEWEST_FOR_ORDER:
        return None
    order = spearmanr([row.predicted for row in rows], [row.measured for row in rows]).statistic
    return known(order)


def _few_images(row: Record) -> str:
    """Why the interval may be too narrow; or nothing."""
    per_class = known(row["images_per_class"])
    if per_class is None or per_class >= FEWEST_PER_CLASS:
        return ""
    return (
        f"Too few images for a 95 % interval: {per_class:.1f} a class in the mean, where "
        f"{FEWEST_PER_CLASS} are needed."
    )


def _floats(row: Record) -> str:
    """How far FP32 itself is off there; nothing where it was not measured."""
    there = known(row["engine_fp32"])
    if there is None:
        return ""
    return f"FP32 there is {signed(there - float(row['fp32']), 4)} from FP32 here."
