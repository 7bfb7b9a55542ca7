"""Claim and table -> verdict: supported, refuted, depends on an axis, undecided, not measured.

Each group (a model, a dataset, a plan, a size, a seed ...) has its own verdict first. A group is on
the claim's side, or against it, only if its 95 % interval is, and if that outlasts Holm's
correction over all groups: with many groups, some would be by chance.

Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any, Literal

import pandas as pd

from bench.claims.claim import Claim, Criterion
from bench.claims.effect import (
    Effect,
    Judgements,
    effect_of,
    mean_effect,
    ratio_effect,
    winner_effect,
)
from bench.claims.select import Case, find_cases

ALPHA = 0.05
Status = Literal["supported", "refuted", "undecided"]
NAMES = {"calibration_size": "size", "calibration_seed": "seed", "calibrator_params": "parameters"}
"""How a verdict says an axis, where the column's name is not plain enough."""


@dataclass(frozen=True)
class Group:
    """One group's verdict. ``p_value`` is corrected (Holm); None where there is no such test."""

    setting: Mapping[str, str]
    status: Status
    effect: float
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    basis: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What the table says about one claim; the numbers are in ``unit``, over all groups."""

    id: str
    statement: str
    source: tuple[str, ...]
    verdict: str
    text: str
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    unit: str
    expect: str
    threshold: float
    rows: tuple[str, ...]
    groups: tuple[Group, ...]
    measure: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Verdict:
        """Raises TypeError or KeyError for what no verdict was written as."""
        groups = tuple(
            Group(**{**group, "rows": tuple(group["rows"])}) for group in content["groups"]
        )
        lists = {"source": tuple(content["source"]), "rows": tuple(content["rows"])}
        return cls(**{**content, **lists, "groups": groups})


@dataclass(frozen=True, eq=False)
class _Found:
    """A group before its verdict; ``looks`` is how many cases its effect was chosen among."""

    setting: Mapping[str, str]
    effect: Effect
    rows: tuple[str, ...]
    looks: int = 1


def judge(claim: Claim, table: pd.DataFrame, judgements: Judgements) -> Verdict:
    """The verdict of a table on a claim."""
    found = _groups(find_cases(table, claim), claim.test, judgements)
    if not found:
        return _verdict(claim, "not measured", _how_to_measure(claim), None, ())
    groups = _decide(found, claim.test)
    whole = _whole(found, claim.test)
    verdict, text = _combine(groups, claim.test)
    return _verdict(claim, verdict, text, whole, groups)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _groups(cases: Sequence[Case], test: Criterion, judgements: Judgements) -> list[_Found]:
    if test.quantity == "ratio":
        return _timed(cases, test)
    effects = [(case, effect_of(case, test, judgements)) for case in cases]
    known = [(case, effect) for case, effect in effects if effect is not None]
    if test.quantity == "winner":
        return _leads(known, test.over)
    return [_Found(case.setting, effect, case.keys) for case, effect in known]


def _timed(cases: Sequence[Case], test: Criterion) -> list[_Found]:
    """A time is the same for whatever plan: all pairs of a model on one machine are one group."""
    found = []
    for setting, own in _by(cases, ("model", "dataset")):
        effect = ratio_effect(own, test.columns)
        if effect is not None:
            found.append(_Found(setting, effect, _keys(own)))
    return found


def _leads(known: Sequence[tuple[Case, Effect]], over: str) -> list[_Found]:
    effect_by_case = {id(case): effect for case, effect in known}
    axes = tuple(dict.fromkeys(name for case, _ in known for name in case.setting if name != over))
    found = []
    for setting, own in _by([case for case, _ in known], axes):
        if len({case.setting[over] for case in own}) > 1:
            effect = winner_effect([effect_by_case[id(case)] for case in own])
            found.append(_Found(setting, effect, _keys(own), looks=len(own)))
    return found


def _by(cases: Sequence[Case], axes: Sequence[str]) -> list[tuple[dict[str, str], list[Case]]]:
    """The cases by their values on these axes."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(tuple(case.setting.get(axis, "") for axis in axes), []).append(case)
    return [(dict(zip(axes, values, strict=True)), own) for values, own in groups.items()]


def _keys(cases: Sequence[Case]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for case in cases for key in case.keys))


def _decide(found: Sequence[_Found], test: Criterion) -> tuple[Group, ...]:
    """Every group's verdict. Timings have no p-value: their interval alone decides."""
    timed = test.quantity == "ratio"
    adjusted = holm([min(1.0, own.effect.p_value(test.threshold) * own.looks) for own in found])
    return tuple(
        Group(
            own.setting,
            _status(own.effect, test, 0.0 if timed else p_value),
            own.effect.value,
            own.effect.low,
            own.effect.high,
            None if timed else p_value,
            own.effect.basis,
            own.rows,
        )
        for own, p_value in zip(found, adjusted, strict=True)
    )


def _status(effect: Effect, test: Criterion, p_value: float) -> Status:
    if effect.low is None or effect.high is None or p_value >= ALPHA:
        return "undecided"
    if effect.low == effect.high and effect.value == (1.0 if test.quantity == "kept" else 0.0):
        return "undecided"  # where no image tells two runs apart, no resample of them can
    above, below = effect.low > test.threshold, effect.high < test.threshold
    if above == below:
        return "undecided"
    return "supported" if above == (test.expect == "above") else "refuted"


def _whole(found: Sequence[_Found], test: Criterion) -> Effect:
    if len(found) == 1:
        return found[0].effect
    if test.quantity == "ratio":
        # Machines and models are no repetitions: from the lowest to the highest end, of those that
        # have any.
        sure = [
            (own.effect.value, own.effect.low, own.effect.high)
            for own in found
            if own.effect.low is not None and own.effect.high is not None
        ]
        if not sure:
            return Effect(float(median(own.effect.value for own in found)), None, None)
        values, lows, highs = zip(*sure, strict=True)
        return Effect(float(median(values)), min(lows), max(highs))
    return mean_effect([own.effect for own in found])


def _combine(groups: Sequence[Group], test: Criterion) -> tuple[str, str]:
    """The verdict over all groups, and why in words."""
    # A group that nothing tells how sure it is of cannot speak for or against the others.
    sure = [group for group in groups if group.ci_low is not None]
    left_out, groups = len(groups) - len(sure), sure or groups
    basis = "; ".join(dict.fromkeys(group.basis for group in groups if group.basis))
    basis = f" Intervals: {basis}." if basis else ""
    if sure and left_out:
        basis += f" Left out: {left_out} without an interval."
    if len({group.status for group in groups}) == 1:
        status = groups[0].status
        return status, _sentence(_unanimous(groups, status, test)) + basis
    axes, apart = _splitting(groups)
    names = [NAMES.get(axis, axis if "." in axis else axis.replace("_", " ")) for axis in axes]
    told = " and ".join(names) if apart else f"{', '.join(names)} and others"
    parts = []
    for status in ("supported", "refuted", "undecided"):
        if own := [group for group in groups if group.status == status]:
            word = _word(own, test) if status == "undecided" else status
            parts.append(f"{word} in {len(own)} of {len(groups)} ({_told(own, axes)})")
    return f"depends on {told}", _sentence("; ".join(parts) + ".") + basis


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _unanimous(groups: Sequence[Group], status: Status, test: Criterion) -> str:
    many = len(groups)
    where = "in the one group measured" if many == 1 else f"in all {many} groups"
    if status == "undecided":
        return f"{_word(groups, test)} {where}."
    beyond = test.expect if status == "supported" else _other(test.expect)
    corrected = ", after Holm's correction" if many > 1 and groups[0].p_value is not None else ""
    return f"The whole interval lies {beyond} {_limit(test)} {where}{corrected}."


def _word(groups: Sequence[Group], test: Criterion) -> str:
    if any(group.ci_low is None for group in groups):
        return "no interval"
    if test.threshold != 0:
        return f"undecided (the interval includes {_limit(test)}, or Holm's correction does)"
    if all(group.ci_low == group.ci_high == group.effect == 0 for group in groups):
        return "a tie, identical image by image,"
    return "a tie (the interval includes 0, or Holm's correction does)"


def _limit(test: Criterion) -> str:
    if test.quantity == "ratio":
        return f"{test.threshold:g}x"
    return (
        f"{100 * test.threshold:g} %" if "share" in UNITS[test.quantity] else f"{test.threshold:g}"
    )


def _other(expect: str) -> str:
    return "below" if expect == "above" else "above"


def _splitting(groups: Sequence[Group]) -> tuple[tuple[str, ...], bool]:
    """One or two axes whose values tell the groups' verdicts apart best, and whether they all do.

    Of axes that do so equally, options that were typed come first, and hashes last.
    """
    axes = dict.fromkeys(axis for group in groups for axis in group.setting)
    varied = [axis for axis in axes if len({group.setting.get(axis, "") for group in groups}) > 1]
    varied.sort(key=lambda axis: (axis not in ("model", "dataset"), "." not in axis))
    if not varied:
        return ("what no column tells",), False
    choices = [*combinations(varied, 1), *combinations(varied, 2)]
    best = min(choices, key=lambda chosen: (_misfits(groups, chosen), len(chosen)))
    return best, not _misfits(groups, best)


def _misfits(groups: Sequence[Group], axes: Sequence[str]) -> int:
    """Groups whose verdict is not that of most groups with the same values on these axes."""
    cells: dict[tuple[str, ...], list[str]] = {}
    for group in groups:
        values = tuple(group.setting.get(axis, "") for axis in axes)
        cells.setdefault(values, []).append(group.status)
    return sum(len(own) - max(map(own.count, own)) for own in cells.values())


def _told(groups: Sequence[Group], axes: Sequence[str], most: int = 4) -> str:
    """The groups' values on these axes: 'yolov8n all, yolov8n float_head'."""
    values = dict.fromkeys(
        " ".join(group.setting.get(axis, "") or "default" for axis in axes) for group in groups
    )
    told = [*values][:most]
    rest = len(values) - len(told)
    return ", ".join(told) + (f" and {rest} more" if rest else "")


def _how_to_measure(claim: Claim) -> str:
    if not claim.measure:
        return "Nothing here can measure it yet."
    return f"Measure it with: python -m bench --multirun {claim.measure}"


UNITS = {
    "difference": "metric", "winner": "metric", "relative_difference": "share of FP32",
    "restored": "share of the loss", "relative_change": "share of FP32",
    "kept": "share of FP32 kept", "ratio": "times",
}  # fmt: skip


def _verdict(
    claim: Claim, verdict: str, text: str, whole: Effect | None, groups: tuple[Group, ...]
) -> Verdict:
    return Verdict(
        id=claim.id,
        statement=claim.statement,
        source=claim.source,
        verdict=verdict,
        text=text,
        effect=None if whole is None else whole.value,
        ci_low=None if whole is None else whole.low,
        ci_high=None if whole is None else whole.high,
        unit=UNITS[claim.test.quantity],
        expect=claim.test.expect,
        threshold=claim.test.threshold,
        rows=tuple(dict.fromkeys(key for group in groups for key in group.rows)),
        groups=groups,
        measure=claim.measure,
        note=claim.note,
    )
