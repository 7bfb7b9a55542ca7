"""How large an effect is, and how sure: of one case, and of all cases of a claim together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.claims.claim import Criterion
from bench.claims.select import Case, Record
from bench.evaluation.bootstrap import Replicates, paired_bootstrap
from bench.evaluation.judgement import Resampled, load_resampled

LEVEL = 0.95
_WIDTH = 2 * 1.959963984540054
"""Of a normal 95 % interval, in standard errors."""

FP32_CHANGED = 1e-9


@dataclass(frozen=True, eq=False)
class Effect:
    """An effect with its interval; ``replicates`` are those of the paired bootstrap, if any.

    ``low`` and ``high`` are None where nothing tells how sure the effect is.
    """

    value: float
    low: float | None
    high: float | None
    replicates: Replicates | None = None
    basis: str = ""

    @property
    def error(self) -> float:
        """The standard error; nan where it is not known."""
        if self.replicates is not None and self.replicates.size > 1:
            return float(np.nanstd(self.replicates, ddof=1))
        if self.low is None or self.high is None:
            return math.nan
        return (self.high - self.low) / _WIDTH

    def p_value(self, threshold: float) -> float:
        """Two-sided, that the effect is the threshold: by a normal approximation.

        1,000 resamples cannot show a p below 0.002, which Holm's correction over 25 groups needs.
        """
        error, distance = self.error, abs(self.value - threshold)
        if math.isnan(error):
            return 1.0
        if error == 0:
            return float(distance == 0)
        return math.erfc(distance / error / math.sqrt(2))


PAIRED = "paired bootstrap over the images"
BOUNDED = "the rows' own intervals against FP32: wider than a paired one"
OWN = "the row's own paired bootstrap against FP32"


class Judgements:
    """What a sweep's runs kept of their judged predictions, each read once."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._read: dict[str, Resampled | None] = {}

    def pair(self, first: str, second: str) -> Replicates | None:
        """Replicates of first minus second; None unless both are kept, about the same truth."""
        one, other = self._resampled(first), self._resampled(second)
        if one is None or other is None or one.truth != other.truth:
            return None
        return np.asarray(one.replicates - other.replicates)

    def _resampled(self, run_key: str) -> Resampled | None:
        if run_key not in self._read:
            path = None if self._folder is None else self._folder / "judged" / f"{run_key}.npz"
            kept = path is not None and path.is_file()
            self._read[run_key] = load_resampled(path) if kept and path else None
        return self._read[run_key]


def effect_of(case: Case, test: Criterion, judgements: Judgements) -> Effect | None:
    """The effect of a case; None where a number is missing or there is nothing to share out."""
    scale = _scale(case, test)
    if scale is None or not math.isfinite(scale) or scale <= 0:
        return None
    found = _single(case.first) if case.second is None else _difference(case, judgements)
    if found is None:
        return None
    if test.quantity == "kept" and _number(case.first, "int8") == 0:
        return Effect(0.0, 0.0, 0.0, None, OWN)  # on whichever images: 0 of anything is 0
    shift = 1.0 if test.quantity == "kept" else 0.0  # INT8 / FP32 = 1 + change / FP32
    return _map(found, lambda value: value / scale + shift)


def _scale(case: Case, test: Criterion) -> float | None:
    """What the difference is divided by: 1, the FP32 metric, or the second row's loss."""
    if test.quantity in ("difference", "winner"):
        return 1.0
    if test.quantity == "restored":
        assert case.second is not None
        # A loss that is not proven cannot be shared out.
        proven = _number(case.second, "ci_high")
        loss = _number(case.second, "delta")
        return None if proven is None or loss is None or proven >= 0 else -loss
    return _number(case.first, "fp32")


def _single(row: Record) -> Effect | None:
    value, low, high = (_number(row, name) for name in ("delta", "ci_low", "ci_high"))
    return None if value is None else Effect(value, low, high, None, OWN)


def _difference(case: Case, judgements: Judgements) -> Effect | None:
    """First minus second: paired where both were judged, else bounded by the rows' intervals."""
    first, second = case.first, case.second
    assert second is not None
    values = [_number(row, name) for row in (first, second) for name in ("delta", "fp32", "int8")]
    if None in values:
        return None
    one, one_fp32, one_int8, two, two_fp32, two_int8 = (float(value or 0) for value in values)
    if abs(one_fp32 - two_fp32) < FP32_CHANGED:
        replicates = judgements.pair(str(first["run_key"]), str(second["run_key"]))
        if replicates is not None:
            zero = np.zeros_like(replicates)
            found = paired_bootstrap(one_int8 - two_int8, zero, replicates, LEVEL)
            return Effect(found.estimate, found.low, found.high, replicates, PAIRED)
    intervals = [_number(row, name) for row in (first, second) for name in ("ci_low", "ci_high")]
    value = one - two
    if None in intervals:
        return Effect(value, None, None)
    one_low, one_high, two_low, two_high = (float(end or 0) for end in intervals)
    low = value - math.hypot(one - one_low, two_high - two)
    high = value + math.hypot(one_high - one, two - two_low)
    return Effect(value, low, high, None, BOUNDED)


def _map(effect: Effect, change: Callable[[float], float]) -> Effect:
    """The effect in another unit; ``change`` is increasing and linear."""
    replicates = effect.replicates
    return Effect(
        change(effect.value),
        None if effect.low is None else change(effect.low),
        None if effect.high is None else change(effect.high),
        None if replicates is None else np.array([change(value) for value in replicates]),
        effect.basis,
    )


def mean_effect(effects: Sequence[Effect]) -> Effect:
    """The mean over cases: resampled together where all were, else from end to end of the bounds.

    Every run on the same images is resampled with the same draws, so the mean of the replicates
    keeps what the cases have in common.
    """
    value = float(np.mean([effect.value for effect in effects]))
    kept = [effect.replicates for effect in effects if effect.replicates is not None]
    if len(kept) == len(effects):
        replicates: npt.NDArray[np.float64] = np.mean(kept, axis=0)
        found = paired_bootstrap(value, np.zeros_like(replicates), replicates, LEVEL)
        return Effect(value, found.low, found.high, replicates, PAIRED)
    lows = [effect.low for effect in effects if effect.low is not None]
    highs = [effect.high for effect in effects if effect.high is not None]
    if len(lows) < len(effects) or len(highs) < len(effects):
        return Effect(value, None, None)
    basis = effects[0].basis if len({effect.basis for effect in effects}) == 1 else BOUNDED
    return Effect(value, float(np.mean(lows)), float(np.mean(highs)), None, basis)


def winner_effect(effects: Sequence[Effect]) -> Effect:
    """By how much the lead changes sides over these cases: both must lead somewhere.

    Both leads must be proven (an intersection-union test), so the interval is that of the weaker.
    """
    ahead = max(effects, key=lambda effect: effect.value)
    behind = _negative(min(effects, key=lambda effect: effect.value))
    weaker = min(ahead, behind, key=lambda effect: effect.value)
    ends = [(one.low, one.high) for one in (ahead, behind)]
    lows = [low for low, _ in ends if low is not None]
    highs = [high for _, high in ends if high is not None]
    if len(lows) < 2 or len(highs) < 2:
        return Effect(weaker.value, None, None)
    return Effect(weaker.value, min(lows), min(highs), None, weaker.basis)


def _negative(effect: Effect) -> Effect:
    low = None if effect.high is None else -effect.high
    high = None if effect.low is None else -effect.low
    return Effect(-effect.value, low, high, None, effect.basis)


def ratio_effect(cases: Sequence[Case], columns: Sequence[str]) -> Effect | None:
    """The median over pairs of first / second, with the interval of its order statistics.

    That interval supposes nothing about how times scatter; it needs six pairs to reach 95 %, and
    of fewer it is their range. Source: E. L. Lehmann, Nonparametrics, 1975, chapter 4.
    """
    ratios = sorted(ratio for case in cases if (ratio := _ratio(case, columns)) is not None)
    if not ratios:
        return None
    middle = float(np.median(ratios))
    if len(ratios) < 2:
        return Effect(middle, None, None, None, "one pair of timings")
    outside = 0  # pairs to leave out at each end
    while 1 - 2 * _tail(len(ratios), outside + 1) >= LEVEL:
        outside += 1
    basis = "order statistics of" if len(ratios) > 5 else "range of"
    return Effect(
        middle, ratios[outside], ratios[-1 - outside], None, f"{basis} {len(ratios)} pairs"
    )


def _tail(n: int, k: int) -> float:
    """The probability that at most ``k`` of ``n`` lie below the median."""
    return float(sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def _ratio(case: Case, columns: Sequence[str]) -> float | None:
    if case.second is None:
        return None
    totals = []
    for row in (case.first, case.second):
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
