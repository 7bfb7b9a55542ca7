"""Which rows a claim is about, and which pairs of them differ only in what it compares."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from bench.claims.claim import Claim, Conditions
from bench.claims.judgements import Record, records_of
from bench.results.options import DATASET, read_options
from bench.results.row import columns_with

_CONDITIONS = (*columns_with("axis"), *columns_with("condition"))
_NAMED = (
    *(name for name in columns_with("axis") if name not in columns_with("fingerprint")),
    *columns_with("fingerprint"),
    *columns_with("condition"),
)
"""The same axes: those with readable names before hashes."""

_BOUNDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


SETS = "calibration_seed"
"""Runs that differ only in this are one case, measured with several calibration sets."""


@dataclass(frozen=True, eq=False)
class Case:
    """The rows behind one verdict of a group: the claim's ``firsts`` and ``seconds``, one row per
    calibration set each; a claim about single rows has no seconds.

    ``setting`` are the axes on which all agree, and the values that distinguish rows of one side.
    """

    firsts: tuple[Record, ...]
    seconds: tuple[Record, ...]
    setting: Mapping[str, str]

    @property
    def keys(self) -> tuple[str, ...]:
        rows = (*self.firsts, *self.seconds)
        return tuple(dict.fromkeys(str(row["run_key"]) for row in rows))

    @property
    def sets(self) -> int:
        return len({row[SETS] for row in self.firsts})


def measured_rows(table: pd.DataFrame) -> tuple[Record, ...]:
    """The rows that claims may be judged on."""
    return records_of(table[(table["status"] == "ok") & table["int8"].notna()])


def find_cases(measured: Sequence[Record], claim: Claim) -> list[Case]:
    """Every case in the measured rows that this claim can be tested on, in their order."""
    rows = [row for row in measured if _meets(row, claim.where)]
    if not claim.second:
        return _over_sets([Case((row,), (), _setting(row, claim)) for row in rows])
    if not any(
        str(value) in _EXTREMES for side in (claim.first, claim.second) for value in side.values()
    ):  # else they are taken among all rows
        rows = [row for row in rows if _meets(row, claim.first) or _meets(row, claim.second)]
    alike: dict[tuple[object, ...], list[Record]] = {}
    timed = claim.test.quantity == "ratio"
    for row in rows:
        if timed and row["timing"] == "shared":
            continue
        machine = f"{row['hardware']}, {row['device']}" if timed else ""
        alike.setdefault((machine, *_likeness(row, claim.about)), []).append(row)
    return _over_sets([case for group in alike.values() for case in _pairs(group, claim)])


def _over_sets(cases: list[Case]) -> list[Case]:
    """The cases, with those that differ only in their calibration set merged."""
    together: dict[tuple[tuple[str, str], ...], list[Case]] = {}
    for case in cases:
        setting = tuple(item for item in case.setting.items() if item[0] != SETS)
        together.setdefault(setting, []).append(case)
    return [
        Case(
            tuple(row for case in group for row in case.firsts),
            tuple(row for case in group for row in case.seconds),
            dict(setting),
        )
        for setting, group in together.items()
    ]


def _pairs(rows: list[Record], claim: Claim) -> Iterator[Case]:
    firsts, seconds = (_chosen(rows, wanted) for wanted in (claim.first, claim.second))
    for first in firsts:
        for second in seconds:
            if first["run_key"] != second["run_key"] and first[SETS] == second[SETS]:
                setting = _setting(first, claim)
                setting |= _among(first, firsts, claim.about)
                others = _among(second, seconds, claim.about).items()
                against = {f"against {name}": row for name, row in others}
                yield Case((first,), (second,), setting | against)


def _among(row: Record, chosen: list[Record], about: frozenset[str]) -> dict[str, str]:
    """What distinguishes a row from the other rows of the same side of a claim."""
    return {
        name: _text(value_of(row, name))
        for name in sorted(about)
        if len({_text(value_of(one, name)) for one in chosen}) > 1
    }


def _chosen(rows: list[Record], conditions: Conditions) -> list[Record]:
    """The rows that meet the conditions; ``largest`` and ``smallest`` are applied last."""
    extremes = {name: value for name, value in conditions.items() if str(value) in _EXTREMES}
    plain = {name: value for name, value in conditions.items() if name not in extremes}
    chosen = [row for row in rows if _meets(row, plain)]
    for name, value in extremes.items():
        values = [float(row[name]) for row in rows]
        if min(values) == max(values):
            return []
        chosen = [row for row in chosen if float(row[name]) == _EXTREMES[value](values)]
    return chosen


_EXTREMES: dict[Any, Any] = {"largest": max, "smallest": min}


def _meets(row: Record, conditions: Conditions) -> bool:
    return all(_fits(value_of(row, name), wanted) for name, wanted in conditions.items())


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_fits(value, one) for one in wanted)
    if isinstance(wanted, str):
        for sign, holds in _BOUNDS.items():
            if wanted.startswith(sign):
                return bool(holds(float(value), float(wanted.removeprefix(sign))))
        return fnmatchcase(str(value), wanted)
    if isinstance(wanted, (bool, type(None))):
        return str(value).lower() == {True: "true", False: "false", None: "null"}[wanted]
    try:
        return float(value) == float(wanted)
    except ValueError:
        return False


def value_of(row: Record, name: str) -> Any:
    """A column's value. For a key such as ``dataset.calibration_domain``: that option of the row's
    dataset, null where it has its default."""
    return dataset_options(row).get(name, "null") if "." in name else row[name]


def dataset_options(row: Record) -> dict[str, str]:
    """The options of the row's dataset that differ from the default, by their keys in a claim."""
    options = read_options(str(row["dataset_options"]))
    return {f"{DATASET}{name}": value for name, value in options.items()}


def _likeness(row: Record, about: frozenset[str]) -> tuple[object, ...]:
    """What the rows of a pair share, apart from the calibration set: the axes, and the options of
    the dataset."""
    columns = [name for name in _CONDITIONS if name not in about and name != SETS]
    options = sorted((name, own) for name, own in dataset_options(row).items() if name not in about)
    return (*(_text(row[name]) for name in columns), *options)


def _setting(row: Record, claim: Claim) -> dict[str, str]:
    """The axes on which a case's rows agree: those with readable names before hashes."""
    options = dataset_options(row)
    names = [name for name in _NAMED if name not in claim.about]
    known = {name: own for name, own in options.items() if name not in claim.about}
    return known | {name: _text(row[name]) for name in names}


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.10g}"
    return str(value)
