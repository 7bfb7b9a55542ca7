"""The size of one case's effect, and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from bench.claims.claim import Criterion
from bench.claims.judgements import Difference, Judgements, Record
from bench.claims.select import Case
from bench.evaluation.estimate import Interval
from bench.evaluation.interval import LEVEL


@dataclass(frozen=True, eq=False)
class Effect:
    """An effect with its 95 % interval; ``error`` is its standard error, with ``freedom`` degrees
    of freedom. ``by_set`` are the effects of each calibration set, where there are several.
    """

    interval: Interval
    error: float = math.nan
    freedom: float = math.inf
    basis: str = ""
    by_set: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        return self.interval.estimate

    def p_value(self, threshold: float) -> float:
        """Two-sided p-value of the hypothesis "the effect equals the threshold", by Student's t."""
        distance = abs(self.value - threshold)
        if math.isnan(self.error):
            return 1.0
        if self.error == 0:
            return float(distance == 0)
        return float(2 * stdtr(self.freedom, -distance / self.error))


BASIS_PAIRED = "paired half-samples of the images"
BASIS_BOUNDED = "the intervals of single rows against FP32 (wider than paired ones)"
BASIS_SINGLE = "the intervals of single rows against FP32"


def effect_of(case: Case, test: Criterion, judgements: Judgements) -> Effect | None:
    """The effect of a case; None where a number is missing, or a share has no proven total."""
    rows = (*case.firsts, *case.seconds)
    if any(_number(row, name) is None for row in rows for name in ("delta", "fp32", "int8")):
        return None
    scale = _scale(case, test, judgements)
    if scale is None or scale <= 0:
        return None
    if test.quantity == "kept" and all(_number(row, "int8") == 0 for row in case.firsts):
        return Effect(Interval(0.0, 0.0, 0.0), 0.0, basis=BASIS_SINGLE)  # 0 of anything is 0
    if case.seconds:
        difference = judgements.difference(case.firsts, case.seconds)
        effect = _effect(difference, BASIS_PAIRED if difference.paired else BASIS_BOUNDED)
    else:
        loss = judgements.loss(case.firsts)
        effect = _effect(loss, BASIS_PAIRED if loss.paired else BASIS_SINGLE)
    shift = 1.0 if test.quantity == "kept" else 0.0  # INT8 / FP32 = 1 + change / FP32
    return _map(effect, scale, shift)


def _scale(case: Case, test: Criterion, judgements: Judgements) -> float | None:
    """What the difference is divided by: 1, the FP32 metric, or the second rows' loss."""
    if test.quantity in ("difference", "winner"):
        return 1.0
    if test.quantity == "restored":
        # A share of a loss is only defined if the loss is proven.
        loss = judgements.loss(case.seconds)
        return -loss.value if loss.uncertainty.interval(loss.value).high < 0 else None
    return _number(case.firsts[0], "fp32")


def _effect(difference: Difference, basis: str) -> Effect:
    known = difference.uncertainty
    interval = known.interval(difference.value)
    return Effect(interval, known.error, known.freedom, basis, difference.by_set)


def _map(effect: Effect, scale: float, shift: float) -> Effect:
    """The effect in another unit."""

    def change(value: float) -> float:
        return value / scale + shift

    interval = effect.interval
    return Effect(
        Interval(change(interval.estimate), change(interval.low), change(interval.high)),
        effect.error / scale,
        effect.freedom,
        effect.basis,
        tuple(map(change, effect.by_set)),
    )


def winner_effect(effects: Sequence[Effect]) -> Effect:
    """By how much the winner changes over these cases: each side must lead in some case.

    Both leads must be proven (an intersection-union test), so the interval is that of the weaker.
    """
    ahead = max(effects, key=lambda effect: effect.value)
    behind = _negative(min(effects, key=lambda effect: effect.value))
    weaker = min(ahead, behind, key=lambda effect: effect.value)
    both = ahead.interval, behind.interval
    if not all(interval.known for interval in both):
        return Effect(Interval(weaker.value))
    low, high = min(one.low for one in both), min(one.high for one in both)
    interval = Interval(weaker.value, low, high)
    return Effect(interval, weaker.error, weaker.freedom, weaker.basis)


def _negative(effect: Effect) -> Effect:
    interval = Interval(-effect.value, -effect.interval.high, -effect.interval.low)
    return Effect(interval, effect.error, effect.freedom, effect.basis)


def ratio_effect(cases: Sequence[Case], columns: Sequence[str]) -> Effect | None:
    """The median over pairs of first / second, with the interval of its order statistics.

    This interval assumes no distribution of the times. It needs six pairs to reach 95 %; with
    fewer pairs it is their range. Source: E. L. Lehmann, Nonparametrics, 1975, chapter 4.
    """
    pairs = [pair for case in cases for pair in zip(case.firsts, case.seconds, strict=False)]
    ratios = sorted(ratio for pair in pairs if (ratio := _ratio(pair, columns)) is not None)
    if not ratios:
        return None
    middle = float(np.median(ratios))
    if len(ratios) < 2:
        return Effect(Interval(middle), basis="one pair of timings")
    outside = 0  # pairs to leave out at each end
    while 1 - 2 * _tail(len(ratios), outside + 1) >= LEVEL:
        outside += 1
    basis = "order statistics of" if len(ratios) > 5 else "range of"
    ends = ratios[outside], ratios[-1 - outside]
    return Effect(Interval(middle, *ends), basis=f"{basis} {len(ratios)} pairs")


def _tail(n: int, k: int) -> float:
    """The probability that at most ``k`` of ``n`` lie below the median."""
    return float(sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def _ratio(pair: tuple[Record, Record], columns: Sequence[str]) -> float | None:
    totals = []
    for row in pair:
        parts = [_number(row, name) for name in columns]
        if None in parts:
            return None
        totals.append(sum(float(part or 0) for part in parts))
    return totals[0] / totals[1] if totals[1] > 0 else None


def _number(row: Record, name: str) -> float | None:
    value = row[name]
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value)
