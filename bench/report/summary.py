"""The answer as data: which run loses least, by how much, how sure, and what to beware of.

``summarize(table)`` reads the table and nothing else. Rows are compared only within one
(model, dataset, engine). The order of preference, where doubt falls on the careful side:

1. The row with the highest ``delta`` (INT8 minus FP32) *measured* the least loss.
2. Every row that differs from it by less than the noise of both is *tied*: the two 95 % intervals
   are combined as if independent (root of the sum of squares). The same images are behind both, so
   the true noise is smaller, and a tie is called rather too often than too seldom.
3. Among the tied rows those of the fastest graph are preferred (rows of one plan run the same
   layers, so their latencies are one), then the fewest calibration images, then the least loss. A
   tied row with a wide interval may still be much worse, and speed must not buy that: its own
   delta has to lie inside the least loss' interval, and where the least loss is not proven to be
   one, its own must not be either.

Where FP32 itself finds nothing, there is nothing to lose: that group has no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from bench.report.caveats import count_machines, find_caveats, finds_nothing
from bench.report.result import Result, read_result
from bench.report.wording import (
    GROUP,
    SAME_SPEED,
    known,
    measured,
    plain,
    rule_order,
    tidy,
)

EFFECT_AXES = {
    "rule": "calibrator",
    "calibration_size": "calibration size",
    "calibration_seed": "calibration seed",
    "calibration_preprocess": "fitting of calibration images",
    "calibration_pad": "padding of calibration images",
    "calibration_strategy": "order of calibration images",
    "input_range": "input range",
    "plan": "plan",
    "placement": "placement",
    "scheme": "scheme",
    "weight_scales": "scales of weights",
    "batch_size": "batch size",
    "engine_options": "engine options",
}


@dataclass(frozen=True)
class CalibratorRange:
    """One calibrator: its best row, and its best on the plan that suits it least."""

    rule: str
    best: Result
    worst_plan: Result


@dataclass(frozen=True)
class AxisEffect:
    """How far the mean delta moves along one swept axis, over all other axes."""

    axis: str
    spread: float
    best: str
    worst: str


@dataclass(frozen=True)
class Answer:
    """What one (model, dataset, engine) says; ``results`` are its runs, the least loss first."""

    model: str
    dataset: str
    engine: str
    metric: str
    n_images: int | None
    best: Result
    least: Result
    ties: tuple[Result, ...]
    rule: str
    runner_up: Result | None
    calibrators: tuple[CalibratorRange, ...]
    effects: tuple[AxisEffect, ...]
    results: tuple[Result, ...]

    @property
    def group(self) -> str:
        return f"{self.model} on {self.dataset}, {self.engine}"

    @property
    def sentence(self) -> str:
        """The answer in one breath: what, how much, how sure, how fast."""
        best = self.best
        share = "" if best.relative is None else f", {100 * abs(best.relative):.1f} % of FP32"
        spread = "" if best.spread is None else f"; {best.spread.differences}"
        speed = "" if best.speedup is None else f"; {best.speedup:.2f}x as fast as FP32"
        return (
            f"{self.group}, {best.name}: {best.change} {self.metric} "
            f"(95 % interval {best.interval}{share}){spread}{speed}. {self.rule}{self.half}"
            f"{self.by_kernels}"
        )

    @property
    def half(self) -> str:
        """What FP16 on the same engine does instead, as a sentence after others; or nothing."""
        fp16 = self.best.fp16
        if fp16 is None:
            return ""
        return (
            f" FP16 on the same engine {fp16.change} {self.metric} "
            f"(95 % interval {fp16.interval}); {fp16.pays}."
        )

    @property
    def by_kernels(self) -> str:
        """What the engine's int8 kernels reach where the accuracy is not theirs; or nothing."""
        kernels = self.best.kernels
        if kernels is None:
            return ""
        return (
            f" The accuracy is the Q/DQ file's, computed exactly; the int8 kernels of this engine "
            f"reach {kernels.value:.3f} on this processor (95 % interval of the difference "
            f"{kernels.interval})."
        )


@dataclass(frozen=True)
class Summary:
    """The whole table's answers, one a group, and its warnings.

    ``unanswered`` says of each group without an answer why it has none, and what to check.
    """

    answers: tuple[Answer, ...]
    unanswered: tuple[str, ...]
    warnings: tuple[str, ...]
    rows: int
    skipped: int
    built: int
    unfaithful: int

    @property
    def best_keys(self) -> frozenset[str]:
        return frozenset(answer.best.run_key for answer in self.answers)

    @property
    def tied_keys(self) -> frozenset[str]:
        return frozenset(tie.run_key for answer in self.answers for tie in answer.ties)


def summarize(table: pd.DataFrame) -> Summary:
    """The answers of a table, in the order in which its groups appear."""
    tidied = tidy(table)
    groups = [rows for _, rows in measured(tidied).groupby(list(GROUP), sort=False) if len(rows)]
    unfaithful = [
        rows
        for _, rows in tidied.groupby(list(GROUP), sort=False)
        if (rows["status"] == "unfaithful").any() and measured(rows).empty
    ]
    counts = (int((tidied["status"] == s).sum()) for s in ("skipped", "built", "unfaithful"))
    return Summary(
        tuple(_answer(rows) for rows in groups if not finds_nothing(rows)),
        (
            *(_no_answer(rows) for rows in groups if finds_nothing(rows)),
            *(_nothing_faithful(rows) for rows in unfaithful),
        ),
        find_caveats(tidied),
        len(tidied),
        *counts,
    )


def _nothing_faithful(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return (
        f"{first['model']} on {first['dataset']}, {first['engine']}: no run is recommended, as "
        "none computes its Q/DQ file faithfully. The warnings say why."
    )


def _no_answer(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return (
        f"{first['model']} on {first['dataset']}, {first['engine']}: no run is recommended, as "
        f"FP32 itself finds nothing ({first['metric']} {rows['fp32'].max():.3f}). Check the "
        "preprocessing (size, colour order, scale, mean) and the weights."
    )


def _answer(rows: pd.DataFrame) -> Answer:
    results = [read_result(row, rows) for _, row in rows.iterrows()]
    least = max(results, key=lambda result: result.delta)
    ties = tuple(r for r in results if r is not least and r.ties_with(least))
    one_machine = count_machines(rows) == 1
    best, rule = _choose(least, ties, one_machine)
    if len(results) == 1:
        rule = "It is the only row measured."
    others = sorted((r for r in results if r is not best), key=lambda r: -r.delta)
    # Another size of the winner is hardly a rival: the runner-up is another calibrator or plan.
    rivals = [r for r in others if (r.rule, r.setting) != (best.rule, best.setting)] or others
    first = rows.iloc[0]
    images = known(rows["n_images"].min())
    return Answer(
        model=str(first["model"]),
        dataset=str(first["dataset"]),
        engine=str(first["engine"]),
        metric=str(first["metric"]) or "metric",
        n_images=None if images is None else int(images),
        best=best,
        least=least,
        ties=tuple(r for r in (least, *ties) if r is not best),
        rule=rule,
        runner_up=rivals[0] if rivals else None,
        calibrators=_calibrators(results),
        effects=_effects(rows),
        results=tuple(sorted(results, key=lambda r: -r.delta)),
    )


def _choose(least: Result, ties: tuple[Result, ...], one_machine: bool) -> tuple[Result, str]:
    """The row to recommend, and the rule that decided, as a sentence."""
    if not ties:
        return least, "No tie: no other row comes within the noise."
    floor = least.delta if least.ci_low is None else least.ci_low
    pool = [least, *(r for r in ties if r.delta >= floor and r.loses <= least.loses)]
    reasons = []
    # A latency that says little, or that another machine measured, must not decide.
    if one_machine and all(r.graph_ms is not None and not r.latency_note for r in pool):
        pool, decided = _keep_lowest(pool, lambda r: r.graph_ms or 0.0, SAME_SPEED)
        reasons += ["speed"] * decided
    pool, decided = _keep_lowest(pool, lambda r: r.size)
    reasons += ["fewer calibration images"] * decided
    reasons += ["the least loss"] * (len(pool) > 1 or not reasons)
    rows = "1 other row" if len(ties) == 1 else f"{len(ties)} other rows"
    best = max(pool, key=lambda r: r.delta)
    return best, (
        f"A tie: {rows} cannot be told apart by accuracy; {', then '.join(reasons)} decided."
    )


def _keep_lowest(
    pool: list[Result], cost: Callable[[Result], float], slack: float = 1.0
) -> tuple[list[Result], bool]:
    """The results of (nearly) the lowest cost, and whether that excluded any."""
    limit = min(map(cost, pool)) * slack
    kept = [r for r in pool if cost(r) <= limit]
    return kept, len(kept) < len(pool)


def _calibrators(results: list[Result]) -> tuple[CalibratorRange, ...]:
    ranges = []
    for rule in sorted({r.rule for r in results}, key=rule_order):
        own = [r for r in results if r.rule == rule]
        per_plan = [
            max((r for r in own if r.setting == setting), key=lambda r: r.delta)
            for setting in dict.fromkeys(r.setting for r in own)
        ]
        low, high = (pick(per_plan, key=lambda r: r.delta) for pick in (min, max))
        ranges.append(CalibratorRange(rule, best=high, worst_plan=low))
    return tuple(sorted(ranges, key=lambda r: -r.best.delta))


def _effects(rows: pd.DataFrame) -> tuple[AxisEffect, ...]:
    effects = []
    for column, axis in EFFECT_AXES.items():
        means = rows.groupby(column)["delta"].mean().sort_values(kind="stable")
        if len(means) > 1:
            spread = float(means.iloc[-1] - means.iloc[0])
            best, worst = plain(means.index[-1]), plain(means.index[0])
            effects.append(AxisEffect(axis, spread, best, worst))
    return tuple(sorted(effects, key=lambda effect: -effect.spread))
