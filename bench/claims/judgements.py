"""The judged predictions that a sweep's runs stored: differences, and how certain they are.

Values are means over calibration sets (one run each), compared on the same images and, where both
sides have them, the same sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bench.errors import DataError
from bench.evaluation.estimate import Interval, Replicates
from bench.evaluation.interval import LEVEL, Uncertainty, over_images, with_sets
from bench.evaluation.judgement import Resampled, load_resampled
from bench.results.folder import SweepFolder
from bench.results.store import RowStore
from bench.sealed import warn

Record = Mapping[str, Any]
"""One row of the table, by column."""

FP32_CHANGED = 1e-9


def records_of(rows: pd.DataFrame) -> tuple[Record, ...]:
    """The rows of a table, by column."""
    return tuple(
        {str(name): value for name, value in row.items()} for row in rows.to_dict("records")
    )


@dataclass(frozen=True, eq=False)
class Difference:
    """A mean difference; ``by_set`` are those of each calibration set.

    ``halves`` are its values on the half-samples of the images; None where the runs stored none.
    The uncertainty then comes from the intervals of single rows, which is wider than a paired one.
    """

    value: float
    uncertainty: Uncertainty
    halves: Replicates | None
    by_set: tuple[float, ...]

    @property
    def paired(self) -> bool:
        return self.halves is not None


class Judgements:
    """The files under a sweep's ``judged/``, each read once; none where ``folder`` is None."""

    def __init__(self, folder: Path | None) -> None:
        self._store = None if folder is None else RowStore(folder)
        self._read: dict[str, Resampled | None] = {}

    def loss(self, rows: Sequence[Record]) -> Difference:
        """INT8 minus FP32 over one configuration's runs, one run per calibration set."""
        values = [float(row["delta"]) for row in rows]
        judged = [self._resampled(str(row["run_key"])) for row in rows]
        halves = [one.halves - one.fp32 for one in judged if one is not None]
        if len(halves) == len(rows) and judged[0] is not None:
            return _paired(values, halves, judged[0])
        errors = [_row_error(row) for row in rows]
        images = Uncertainty(float(np.mean(errors)), 0.0, _freedom(rows[0]))
        return Difference(float(np.mean(values)), with_sets(images, values), None, tuple(values))

    def difference(self, firsts: Sequence[Record], seconds: Sequence[Record]) -> Difference:
        """First minus second over the calibration sets that both have (all if none is shared)."""
        pairs = _by_set(firsts, seconds)
        if pairs and abs(float(pairs[0][0]["fp32"]) - float(pairs[0][1]["fp32"])) < FP32_CHANGED:
            values = [float(one["int8"]) - float(two["int8"]) for one, two in pairs]
            halves = [pair for one, two in pairs if (pair := self._pair(one, two)) is not None]
            example = self._resampled(str(pairs[0][0]["run_key"]))
            if len(halves) == len(pairs) and example is not None:
                return _paired(values, halves, example)
        if pairs:
            firsts, seconds = ([pair[side] for pair in pairs] for side in (0, 1))
            values = [float(one["delta"]) - float(two["delta"]) for one, two in pairs]
            errors = [math.hypot(*map(_row_error, pair)) for pair in pairs]
            images = Uncertainty(float(np.mean(errors)), 0.0, _freedom(pairs[0][0]))
            return Difference(
                float(np.mean(values)), with_sets(images, values), None, tuple(values)
            )
        one, two = self.loss(firsts), self.loss(seconds)
        error = math.hypot(one.uncertainty.error, two.uncertainty.error)
        freedom = min(one.uncertainty.freedom, two.uncertainty.freedom)
        apart = Uncertainty(error, 0.0, freedom)
        return Difference(one.value - two.value, apart, None, ())

    def against(self, row: Record, other: Judgements, other_row: Record) -> Difference:
        """The row minus a row of another folder, paired where both were judged on the same images.
        Where FP32 itself changed, their losses are compared."""
        same_fp32 = abs(float(row["fp32"]) - float(other_row["fp32"])) < FP32_CHANGED
        column = "int8" if same_fp32 else "delta"
        value = float(row[column]) - float(other_row[column])
        one = self._resampled(str(row["run_key"]))
        two = other._resampled(str(other_row["run_key"]))
        if same_fp32 and one is not None and two is not None and one.truth == two.truth:
            return _paired([value], [np.asarray(one.halves - two.halves)], one)
        error = math.hypot(_row_error(row), _row_error(other_row))
        freedom = min(_freedom(row), _freedom(other_row))
        return Difference(value, Uncertainty(error, 0.0, freedom), None, (value,))

    def change(self, value: float, first: str, second: str) -> Difference | None:
        """``value``, by which run ``first`` differs from run ``second``, with what their judged
        predictions say of it; None unless both kept these, judged by one truth."""
        one, two = self._resampled(first), self._resampled(second)
        if one is None or two is None or one.truth != two.truth:
            return None
        return _paired([value], [np.asarray(one.halves - two.halves)], one)

    def mean_change(self, changes: Sequence[Difference], n_images: int) -> Interval:
        """Of the mean of several such differences on the same images."""
        value = float(np.mean([own.value for own in changes]))
        halves = np.mean([own.halves for own in changes if own.halves is not None], axis=0)
        return over_images(value, np.asarray(halves), n_images).interval(value)

    def _pair(self, first: Record, second: Record) -> Replicates | None:
        """First minus second on the half-samples; None unless both have the same ground truth."""
        one, two = (self._resampled(str(row["run_key"])) for row in (first, second))
        if one is None or two is None or one.truth != two.truth:
            return None
        return np.asarray(one.halves - two.halves)

    def _resampled(self, run_key: str) -> Resampled | None:
        if run_key not in self._read:
            self._read[run_key] = None if self._store is None else _load(self._store, run_key)
        return self._read[run_key]


def _load(store: RowStore, run_key: str) -> Resampled | None:
    """What a run stored; None if there is nothing, or (with a warning) if it is damaged."""
    try:
        content = store.read_file("judged", run_key)
        path = SweepFolder(store.folder).judged(run_key)
        return None if content is None else load_resampled(content, path)
    except DataError as error:
        warn(f"{error}. Claims use the intervals in the table instead")
        return None


def _paired(values: Sequence[float], halves: Sequence[Replicates], one: Resampled) -> Difference:
    value, mean = float(np.mean(values)), np.asarray(np.mean(halves, axis=0))
    images = over_images(value, mean, one.n_images, one.least_error)
    return Difference(value, with_sets(images, values), mean, tuple(values))


def _by_set(firsts: Sequence[Record], seconds: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The rows of both sides with the same calibration seed."""
    by_seed = {row["calibration_seed"]: row for row in seconds}
    return [
        (row, by_seed[row["calibration_seed"]])
        for row in firsts
        if row["calibration_seed"] in by_seed
    ]


def _row_error(row: Record) -> float:
    """The standard error behind a row's interval over images; nan without one."""
    low, high = (float(math.nan if row[n] is None else row[n]) for n in ("ci_low", "ci_high"))
    width: float = 2 * stdtrit(_freedom(row), (1 + LEVEL) / 2)
    return (high - low) / width


def _freedom(row: Record) -> float:
    images = row["n_images"]
    known = images is not None and math.isfinite(images) and images > 1
    return float(images) - 1 if known else math.inf
