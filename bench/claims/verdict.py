"""Claim and table -> verdict: supported, refuted, depends on an axis, undecided, not measured.

A group is one configuration of one model on one set of images; runs that differ only in their
calibration set are one group. Each group gets a verdict first. It supports or refutes the claim
only if its whole 95 % interval does, also after Holm's correction over all groups: with many
groups, some would do so by chance. Groups on the same images are not repetitions. So a verdict
states its scope (models, images, calibration sets), and there is no mean over groups.

Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.claims.claim import Claim, Criterion
from bench.claims.effect import Effect, effect_of, ratio_effect, winner_effect
from bench.claims.judgements import Judgements, Record
from bench.claims.select import Case, find_cases
from bench.claims.sentences import (
    UNITS,
    GroupVerdict,
    Status,
    axis_name,
    basis_of,
    by_status_and_values,
    capitalized,
    configurations,
    disagreement,
    is_corrected,
    limit,
    on_models,
    opposite,
    scope,
    splitting,
    values_on,
    why_undecided,
)

ALPHA = 0.05


@dataclass(frozen=True)
class Verdict:
    """What the table says about one claim; the numbers are in ``unit``.

    For several groups, ``effect_low`` to ``effect_high`` is the range of their effects, and
    ``ci_low`` to ``ci_high`` the hull of their intervals. One group has one effect.
    """

    id: str
    statement: str
    source: tuple[str, ...]
    verdict: str
    text: str
    effect_low: float | None
    effect_high: float | None
    ci_low: float | None
    ci_high: float | None
    unit: str
    expect: str
    threshold: float
    rows: tuple[str, ...]
    groups: tuple[GroupVerdict, ...]
    measure: str = ""
    note: str = ""

    @property
    def effect(self) -> float | None:
        """The effect of a single group; None for several, which do not repeat one experiment."""
        return self.effect_low if len(self.groups) == 1 else None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Verdict:
        """Raises TypeError or KeyError for data that is not a stored verdict."""
        groups = tuple(
            GroupVerdict(**{**group, "rows": tuple(group["rows"])}) for group in content["groups"]
        )
        lists = {"source": tuple(content["source"]), "rows": tuple(content["rows"])}
        return cls(**{**content, **lists, "groups": groups})


@dataclass(frozen=True, eq=False)
class _Found:
    """A group before its verdict; ``looks`` is how many cases its effect was chosen among."""

    setting: Mapping[str, str]
    effect: Effect
    rows: tuple[str, ...]
    sets: int = 1
    looks: int = 1


def judge(claim: Claim, measured: Sequence[Record], judgements: Judgements) -> Verdict:
    """The verdict of a table's measured rows on a claim."""
    effects = _groups(find_cases(measured, claim), claim.test, judgements)
    if not effects:
        return _verdict(claim, "not measured", _how_to_measure(claim), ())
    groups = _decide(effects, claim.test)
    verdict, text = _combine(groups, claim)
    said = " ".join([text, *disagreement(groups, claim.test), scope(groups, claim.test)])
    return _verdict(claim, verdict, said, groups)


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
    return [_Found(case.setting, effect, case.keys, case.sets) for case, effect in known]


def _timed(cases: Sequence[Case], test: Criterion) -> list[_Found]:
    """Times do not depend on the plan: all pairs of a model on one machine are one group."""
    effects = []
    for setting, group in _by(cases, ("model", "dataset")):
        effect = ratio_effect(group, test.columns)
        if effect is not None:
            effects.append(_Found(setting, effect, _keys(group)))
    return effects


def _leads(known: Sequence[tuple[Case, Effect]], over: str) -> list[_Found]:
    effect_by_case = {id(case): effect for case, effect in known}
    axes = tuple(dict.fromkeys(name for case, _ in known for name in case.setting if name != over))
    effects = []
    for setting, group in _by([case for case, _ in known], axes):
        if len({case.setting[over] for case in group}) > 1:
            effect = winner_effect([effect_by_case[id(case)] for case in group])
            sets = min(case.sets for case in group)
            effects.append(_Found(setting, effect, _keys(group), sets, looks=len(group)))
    return effects


def _by(cases: Sequence[Case], axes: Sequence[str]) -> list[tuple[dict[str, str], list[Case]]]:
    """The cases by their values on these axes."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(tuple(case.setting.get(axis, "") for axis in axes), []).append(case)
    return [(dict(zip(axes, values, strict=True)), members) for values, members in groups.items()]


def _keys(cases: Sequence[Case]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for case in cases for key in case.keys))


def _decide(effects: Sequence[_Found], test: Criterion) -> tuple[GroupVerdict, ...]:
    """Every group's verdict. Timings have no p-value: their interval alone decides."""
    timed = test.quantity == "ratio"
    adjusted = holm(
        [min(1.0, group.effect.p_value(test.threshold) * group.looks) for group in effects]
    )
    return tuple(
        GroupVerdict(
            group.setting,
            _status(group.effect, test, 0.0 if timed else p_value),
            group.effect.value,
            *group.effect.interval.ends,
            None if timed else p_value,
            group.effect.basis,
            group.rows,
            group.sets,
            min(group.effect.by_set, default=None) if group.sets > 1 else None,
            max(group.effect.by_set, default=None) if group.sets > 1 else None,
        )
        for group, p_value in zip(effects, adjusted, strict=True)
    )


def _status(effect: Effect, test: Criterion, p_value: float) -> Status:
    low, high = effect.interval.low, effect.interval.high
    if not effect.interval.known or p_value >= ALPHA:
        return "undecided"
    if low == high and effect.value == (1.0 if test.quantity == "kept" else 0.0):
        return "undecided"  # if two runs agree on every image, no resample can separate them
    above, below = low > test.threshold, high < test.threshold
    if above == below:
        return "undecided"
    return "supported" if above == (test.expect == "above") else "refuted"


def _combine(groups: Sequence[GroupVerdict], claim: Claim) -> tuple[str, str]:
    """The verdict's words, and why."""
    test = claim.test
    by_status = {
        status: [group for group in groups if group.status == status]
        for status in ("supported", "refuted", "undecided")
    }
    supported, refuted = by_status["supported"], by_status["refuted"]
    basis = basis_of(groups)
    if claim.exists and not supported:
        return "never seen here", (
            f"It does not happen in {configurations(groups)}. That does not refute that it can "
            f"happen elsewhere.{basis}"
        )
    if claim.exists:
        axes = splitting(groups)[0]
        seen = f" ({values_on(supported, axes)})" if len(groups) > 1 else ""
        return f"supported {on_models(supported)}", (
            f"Seen in {len(supported)} of {configurations(groups)}{seen}.{basis}"
        )
    if supported and refuted:
        axes, apart = splitting([*supported, *refuted])
        names = [axis_name(axis) for axis in axes]
        described = " and ".join(names) if apart else f"{', '.join(names)} and others"
        return f"depends on {described}", by_status_and_values(
            by_status, groups, test, axes
        ) + basis
    decided: Status = "supported" if supported else "refuted"
    if not by_status[decided]:
        return "undecided", capitalized(
            f"{why_undecided(groups, test)} in {configurations(groups)}.{basis}"
        )
    if by_status["undecided"]:
        axes, _ = splitting(groups)
        return f"{decided} in part", by_status_and_values(by_status, groups, test, axes) + basis
    beyond = test.expect if decided == "supported" else opposite(test.expect)
    corrected = ", after Holm's correction" if is_corrected(groups) else ""
    return f"{decided} {on_models(groups)}", (
        f"The whole interval lies {beyond} {limit(test)} in {configurations(groups)}{corrected}."
        + basis
    )


def _how_to_measure(claim: Claim) -> str:
    if not claim.measure:
        return "This program cannot measure it yet."
    return f"Measure it with: int8bench sweep {claim.measure}"


def _verdict(claim: Claim, verdict: str, text: str, groups: tuple[GroupVerdict, ...]) -> Verdict:
    effects = [group.effect for group in groups]
    lows = [group.ci_low for group in groups if group.ci_low is not None]
    highs = [group.ci_high for group in groups if group.ci_high is not None]
    return Verdict(
        id=claim.id,
        statement=claim.statement,
        source=claim.source,
        verdict=verdict,
        text=text,
        effect_low=min(effects, default=None),
        effect_high=max(effects, default=None),
        ci_low=min(lows, default=None),
        ci_high=max(highs, default=None),
        unit=UNITS[claim.test.quantity],
        expect=claim.test.expect,
        threshold=claim.test.threshold,
        rows=tuple(dict.fromkeys(key for group in groups for key in group.rows)),
        groups=groups,
        measure=claim.measure,
        note=claim.note,
    )
