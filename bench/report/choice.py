"""Which configuration to recommend, and how the others compare with it. In doubt, the choice is
conservative.

1. The *least loss* is the highest mean of INT8 minus FP32. A configuration with fewer calibration
   sets than others has to be proven better than these.
2. Every other configuration is compared with it on the same images (and calibration sets). It is
   *equal* if the interval of the difference lies within the margin (an equivalence test: D. J.
   Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987), *worse* if the interval
   excludes zero, else *open*: more images would decide. A difference within rounding
   counts as equal.
3. Among the equal ones those with the most calibration sets are preferred, then the fastest plan
   (if speeds were measured alone on one machine), then the fewest calibration images, then the
   least loss. With a limit for the loss, every configuration proven to be within it is good enough,
   and the fastest of them is preferred.

The best of many looks better than it is. So all intervals here are wide enough to hold for every
configuration at once (``bench.evaluation.interval.widening``), and thus for the chosen one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.claims.judgements import Difference, Judgements
from bench.evaluation.estimate import Interval
from bench.evaluation.interval import bonferroni, widening
from bench.report.result import Result
from bench.report.wording import SAME_SPEED, calibrator_order, plural
from bench.results.settings import Settings

ROUNDING_STEPS = 3
"""Standard deviations of rounding: 3 of 100 differences of two values are larger."""

Kind = Literal["least", "equal", "rounding", "open", "worse"]
Fit = Literal["", "fits", "unproven", "outside"]


@dataclass(frozen=True)
class Standing:
    """One configuration compared with the least loss: ``kind``, and how much more it loses."""

    kind: Kind
    more: Interval
    fit: Fit = ""

    @property
    def tied(self) -> bool:
        return self.kind in ("least", "equal", "rounding")

    @property
    def mark(self) -> Literal["outside", "tie", "open", ""]:
        """How a listing marks it; the recommended configuration has another mark."""
        if self.fit == "outside":
            return "outside"
        return "tie" if self.tied else "open" if self.kind == "open" else ""


@dataclass(frozen=True)
class Choice:
    """The recommended configuration with an interval that allows for the choice, and why.

    ``standings`` are by run key. ``fit`` says whether any configuration is within the loss limit.
    ``rounding`` is the metric's standard deviation by rounding alone, if it was measured.
    """

    best: Result
    least: Result
    reason: str
    standings: Mapping[str, Standing]
    margin: float
    fit: Fit
    candidates: int
    rounding: float | None


def choose(
    results: Sequence[Result],
    judgements: Judgements,
    settings: Settings,
    rounding: float | None,
    comparable_speed: bool,
    raced: int = 0,
) -> Choice:
    """Choose among at least one configuration of a group; for ``rounding`` see ``Choice``.

    Speeds may decide if they are ``comparable_speed``: all measured on one machine. ``raced``
    other configurations were candidates too, and lost a race in all their runs.
    """
    noise = ROUNDING_STEPS * (rounding or 0.0)
    wide = _widened(results, raced)
    least = _least_loss(results, judgements)
    fp32 = max(result.fp32 or 0.0 for result in results)
    margin = settings.margin_of(fp32)
    standings = _standings(results, least, judgements, margin, noise)
    if settings.max_loss is not None:
        limit = -settings.max_loss * fp32
        standings = {
            key: replace(standing, fit=_fit(wide[key], limit))
            for key, standing in standings.items()
        }
    fitting = [r for r in results if standings[r.run_key].fit == "fits"]
    if fitting:
        best, reason = _fastest(fitting, comparable_speed, settings.max_loss or 0.0, noise)
    else:
        tied = [r for r in results if standings[r.run_key].tied]
        allowed = [r for r in tied if standings[r.run_key].fit != "outside"]
        best, reasons = _prefer(allowed or tied, comparable_speed, noise)
        reason = _explain(standings, margin, noise, reasons)
    if raced:
        reason += f" {_others(raced)} lost a race: see Warnings."
    if len(results) == 1 and not raced:
        reason = "It is the only configuration measured."
    return Choice(
        best=replace(best, difference=wide[best.run_key]),
        least=least,
        reason=reason,
        standings=standings,
        margin=margin,
        fit=_overall(standings),
        candidates=len(results) + raced,
        rounding=rounding,
    )


def _widened(results: Sequence[Result], raced: int) -> dict[str, Interval]:
    """Intervals of all losses that hold at once.

    A configuration may look best because its standard error or its bias happened to be small. So
    it gets the largest error and bias of all configurations that may be as good.
    """
    factor = _factor([result.exact for result in results], raced)
    top = max(results, key=lambda result: result.delta)
    rivals = [
        result.exact.uncertainty
        for result in results
        if top.delta - result.delta
        <= 2 * math.hypot(result.exact.uncertainty.error, top.exact.uncertainty.error)
    ]
    # Where no error is known there is no rival, and nothing is pooled.
    error = math.sqrt(float(np.mean([rival.error**2 for rival in rivals]))) if rivals else 0.0
    bias = float(np.mean([rival.bias for rival in rivals])) if rivals else 0.0
    wide = {}
    for result in results:
        alone = result.exact.uncertainty
        pooled = replace(alone, error=max(alone.error, error), bias=max(alone.bias, bias, key=abs))
        wide[result.run_key] = pooled.interval(result.delta, widen=factor)
    return wide


def _factor(differences: Sequence[Difference], raced: int = 0) -> float:
    """``raced`` others have no values on the half-samples of all images: they count as if they had
    nothing in common."""
    halves = [one.halves for one in differences if one.halves is not None]
    if len(halves) == len(differences) and len({one.size for one in halves}) == 1:
        if raced:
            return bonferroni(len(differences) + raced, math.inf)
        return widening(np.stack(halves))
    freedom = min((one.uncertainty.freedom for one in differences), default=math.inf)
    return bonferroni(len(differences) + raced, freedom)


def _least_loss(results: Sequence[Result], judgements: Judgements) -> Result:
    ranked = sorted(results, key=lambda result: -result.delta)
    lead, most = ranked[0], max(result.sets for result in results)
    for other in ranked:
        if lead.sets == most:
            break
        if other.sets == most:
            more = judgements.difference(lead.rows, other.rows)
            if not more.uncertainty.interval(more.value).low > 0:
                lead = other
    return lead


def _standings(
    results: Sequence[Result],
    least: Result,
    judgements: Judgements,
    margin: float,
    rounding: float,
) -> dict[str, Standing]:
    others = [result for result in results if result is not least]
    more = [judgements.difference(least.rows, other.rows) for other in others]
    factor = _factor(more)
    standings = {least.run_key: Standing("least", Interval(0.0, 0.0, 0.0))}
    for other, difference in zip(others, more, strict=True):
        interval = difference.uncertainty.interval(difference.value, widen=factor)
        standings[other.run_key] = Standing(_kind(interval, margin, rounding), interval)
    return standings


def _kind(more: Interval, margin: float, rounding: float) -> Kind:
    """An interval that is not known (nan) proves nothing."""
    if -margin <= more.low and more.high <= margin:
        return "equal"
    if abs(more.estimate) <= rounding:
        return "rounding"
    return "worse" if more.low > 0 else "open"


def _fit(loss: Interval, limit: float) -> Fit:
    if loss.low >= limit:
        return "fits"
    return "outside" if loss.high < limit else "unproven"


def _overall(standings: Mapping[str, Standing]) -> Fit:
    fits = [standing.fit for standing in standings.values()]
    order: tuple[Fit, ...] = ("fits", "unproven", "outside")
    return next((fit for fit in order if fit in fits), "")


def _fastest(
    fitting: Sequence[Result], comparable_speed: bool, max_loss: float, noise: float
) -> tuple[Result, str]:
    pool, by_speed = _fast(_confirmed(fitting), comparable_speed)
    best, reason = _least_of(pool, noise)
    if len(fitting) == 1:
        return best, f"Only this one is proven to lose at most {100 * max_loss:g} % of FP32."
    decided = f"speed, then {reason}" if by_speed else reason
    return best, (
        f"{plural(len(fitting), 'configuration')} are proven to lose at most {100 * max_loss:g} % "
        f"of FP32. Decided by: {decided}."
    )


def _prefer(
    tied: Sequence[Result], comparable_speed: bool, noise: float
) -> tuple[Result, list[str]]:
    """Choose among results that are equal in accuracy, and say what decided."""
    confirmed = _confirmed(tied)
    reasons = ["more calibration sets"] * (len(confirmed) < len(tied))
    pool, by_speed = _fast(confirmed, comparable_speed)
    reasons += ["speed"] * by_speed
    pool, by_size = _keep_lowest(pool, lambda result: result.size)
    reasons += ["fewer calibration images"] * by_size
    best, last = _least_of(pool, noise)
    reasons += [last] * (len(pool) > 1 or not reasons)
    return best, reasons


def _confirmed(pool: Sequence[Result]) -> list[Result]:
    """The results with the most calibration sets: the others may have been lucky."""
    most = max(result.sets for result in pool)
    return [result for result in pool if result.sets == most]


def _least_of(pool: Sequence[Result], noise: float) -> tuple[Result, str]:
    """The least loss; among results that differ by no more than ``noise``, the first by name."""
    top = max(result.delta for result in pool)
    close = [result for result in pool if top - result.delta <= noise]
    if len(close) > 1:
        first = min(
            close, key=lambda result: (calibrator_order(result.calibrator_label), result.plan_label)
        )
        return first, "the order of names (they differ by no more than rounding)"
    return max(pool, key=lambda result: result.delta), "the least loss"


def _fast(pool: Sequence[Result], comparable_speed: bool) -> tuple[list[Result], bool]:
    # An unreliable latency, or one from another machine, must not decide.
    sound = all(r.latency_ms is not None and not r.latency_note for r in pool)
    if not (comparable_speed and sound):
        return list(pool), False
    return _keep_lowest(pool, lambda result: result.latency_ms or 0.0, SAME_SPEED)


def _keep_lowest(
    pool: Sequence[Result], cost: Callable[[Result], float], slack: float = 1.0
) -> tuple[list[Result], bool]:
    """The results of (nearly) the lowest cost, and whether that excluded any."""
    limit = min(map(cost, pool)) * slack
    cheapest = [result for result in pool if cost(result) <= limit]
    return cheapest, len(cheapest) < len(pool)


def _explain(
    standings: Mapping[str, Standing], margin: float, noise: float, reasons: Sequence[str]
) -> str:
    counts = {
        kind: sum(standing.kind == kind for standing in standings.values())
        for kind in ("equal", "rounding", "open", "worse")
    }
    ties = []
    if counts["equal"]:
        verb = "is" if counts["equal"] == 1 else "are"
        ties.append(
            f"{_others(counts['equal'])} {verb} as accurate within the margin of {margin:.3f}"
        )
    if counts["rounding"]:
        verb = "differs" if counts["rounding"] == 1 else "differ"
        ties.append(f"{_others(counts['rounding'])} {verb} by no more than rounding ({noise:.3f})")
    if ties:
        sentences = [f"A tie: {' and '.join(ties)}. Decided by: {', then '.join(reasons)}."]
    else:
        sentences = [f"No other configuration is as accurate within the margin of {margin:.3f}."]
    if counts["open"]:
        sentences.append(
            f"These images cannot decide whether {_others(counts['open'])} "
            f"{'loses' if counts['open'] == 1 else 'lose'} more."
        )
    if counts["worse"]:
        verb = "is" if counts["worse"] == 1 else "are"
        sentences.append(f"{_others(counts['worse'])} {verb} proven to lose more.")
    return " ".join(sentences)


def _others(count: int) -> str:
    return "1 other configuration" if count == 1 else f"{count} other configurations"
