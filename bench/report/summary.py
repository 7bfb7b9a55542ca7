"""The answer as data: which configuration loses least, how certain that is, and the warnings.

``summarize(table, ...)`` reads the table and, where there are any, the judged predictions beside
it. Rows are compared only within one (model, dataset, engine). ``bench.report.choice`` says how.

Where FP32 itself finds nothing, there is nothing to lose: that group has no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.claims.judgements import Judgements
from bench.evaluation.interval import FEWEST_PER_CLASS
from bench.report.advice import what_to_try
from bench.report.ahead import BuiltBeside, find_built
from bench.report.caveats import find_caveats, finds_nothing
from bench.report.caveats_latency import count_machines
from bench.report.choice import Choice, Standing, choose
from bench.report.effects import AxisEffect, CalibratorRange, axis_effects, calibrator_ranges
from bench.report.foretold import Foretold, find_foretold
from bench.report.next_steps import NextStep, next_steps
from bench.report.raced import configurations_raced
from bench.report.result import Result, read_results
from bench.report.wording import (
    GROUP,
    engine_name,
    group_name,
    known,
    measured,
    plain,
    plural,
    tidy,
)
from bench.results.settings import Settings, read_settings


@dataclass(frozen=True)
class Answer:
    """The answer of one (model, dataset, engine); ``results``: configurations, least loss first.

    ``built`` says which engines were built of the recommended one for other machines.
    """

    model: str
    dataset: str
    engine: str
    metric: str
    n_images: int | None
    choice: Choice
    max_loss: float | None
    few_images: str
    runner_up: Result | None
    calibrators: tuple[CalibratorRange, ...]
    effects: tuple[AxisEffect, ...]
    results: tuple[Result, ...]
    advice: tuple[str, ...]
    next_steps: tuple[NextStep, ...]
    built: BuiltBeside

    @property
    def best(self) -> Result:
        return self.choice.best

    @property
    def least(self) -> Result:
        return self.choice.least

    @property
    def ties(self) -> tuple[Result, ...]:
        """The configurations as accurate as the least loss, without the recommended one."""
        return tuple(r for r in self.results if self._tied(r) and r.run_key != self.best.run_key)

    def _tied(self, result: Result) -> bool:
        return self.choice.standings[result.run_key].tied

    @property
    def reason(self) -> str:
        return self.choice.reason

    @property
    def fits(self) -> bool:
        """Whether a configuration may be recommended: False where all lose more than allowed."""
        return self.choice.fit != "outside"

    @property
    def group(self) -> str:
        return f"{self.model} on {self.dataset}, {self.engine}"

    @property
    def headline(self) -> str:
        """What to do, and what it costs."""
        change = f"{self.best.name}: {self.best.change} {self.metric}"
        return change if self.fits else f"Nothing here is fit to deploy. Least loss: {change}"

    @property
    def budget(self) -> str:
        """How the recommended configuration meets the loss limit; "" without a limit."""
        if self.max_loss is None:
            return ""
        limit = f"{100 * self.max_loss:g} % of FP32"
        if not self.fits:
            return f"Every configuration is proven to lose more than {limit}."
        fit = self.choice.standings[self.best.run_key].fit
        if fit == "fits":
            return f"It is proven to lose no more than {limit}."
        return f"No configuration is proven to lose no more than {limit}: this one may lose more."

    @property
    def scope(self) -> str:
        """What the interval covers, and what it does not."""
        candidates, sets = self.choice.candidates, self.best.sets
        images = "" if self.n_images is None else f" {plural(self.n_images, 'image')} and"
        covers = f"Scope: this model,{images} {plural(sets, 'calibration set')}."
        parts = [covers]
        if candidates > 1:
            parts.append(
                f"The best of {candidates} configurations looks better than it is, so this "
                "interval is widened to hold for all of them at once."
            )
        if sets == 1:
            parts.append("What another calibration set would give is not known.")
        else:
            parts.append(
                "The accuracy is the mean over these sets; the interval also covers other sets."
            )
        return " ".join([*parts, *([self.few_images] if self.few_images else [])])

    @property
    def sentence(self) -> str:
        """The whole answer in one text: what, how much, how certain, how fast."""
        best = self.best
        share = "" if best.relative is None else f", {100 * abs(best.relative):.1f} % of FP32"
        spread = "" if best.spread is None else f"; {best.spread.differences}"
        speed = "" if best.speedup is None else f"; {best.speedup:.2f}x as fast as FP32"
        budget = f" {self.budget}" if self.budget else ""
        advice = f" To try: {'; '.join(self.advice)}." if self.advice else ""
        return (
            f"{self.group}, {self.headline} "
            f"(95 % interval {best.interval}{share}){spread}{speed}.{budget}{advice} {self.reason} "
            f"{self.scope}{self.half}{self.by_kernels}"
        )

    @property
    def half(self) -> str:
        """What FP16 on the same engine reaches, as a sentence; or ""."""
        fp16 = self.best.fp16
        if fp16 is None:
            return ""
        return (
            f" FP16 on the same engine: {fp16.change} {self.metric} "
            f"(95 % interval {fp16.interval}); {fp16.pays}."
        )

    @property
    def by_kernels(self) -> str:
        """What the int8 kernels reach where the accuracy is computed from the Q/DQ file; or ""."""
        kernels = self.best.kernels
        if kernels is None:
            return ""
        return (
            f" The accuracy is computed exactly from the Q/DQ file; the int8 kernels of this "
            f"engine reach {kernels.value:.3f} on this processor (95 % interval of the difference "
            f"{kernels.interval})."
        )


@dataclass(frozen=True)
class Summary:
    """The whole table's answers, one per group, and its warnings.

    ``unanswered`` states for each group without an answer why, and what to check.
    ``foretold`` says how well this machine predicted what targets measured.
    ``tidied`` is the table itself, for all that shows it.
    """

    answers: tuple[Answer, ...]
    unanswered: tuple[str, ...]
    foretold: tuple[Foretold, ...]
    warnings: tuple[str, ...]
    rows: int
    skipped: int
    built: int
    unfaithful: int
    raced: int
    tidied: pd.DataFrame = field(repr=False, compare=False)

    @cached_property
    def best_keys(self) -> frozenset[str]:
        """The runs of the recommended configurations; none where nothing is fit to deploy."""
        return frozenset(answer.best.run_key for answer in self.answers if answer.fits)

    @cached_property
    def outside(self) -> bool:
        """Whether a limit for the loss is set, and any run is proven to lose more."""
        return any(standing.fit == "outside" for standing in self.standings.values())

    @cached_property
    def standings(self) -> Mapping[str, Standing]:
        """How each run's configuration stands beside the least loss, by run key."""
        return {
            key: answer.choice.standings[result.run_key]
            for answer in self.answers
            for result in answer.results
            for key in result.run_keys
        }


def summarize(
    table: pd.DataFrame, judgements: Judgements | None = None, settings: Settings | None = None
) -> Summary:
    """The answers of a table, in the order in which its groups appear.

    Without judged predictions the intervals of the rows are used, and pairs are less certain.
    """
    tidied = tidy(table)
    groups = [rows for _, rows in measured(tidied).groupby(list(GROUP), sort=False) if len(rows)]
    unfaithful = [
        rows
        for _, rows in tidied.groupby(list(GROUP), sort=False)
        if (rows["status"] == "unfaithful").any() and measured(rows).empty
    ]
    count = tidied["status"].value_counts()
    asked, judged = settings or Settings(), judgements or Judgements(None)
    raced = configurations_raced(tidied)
    answers = tuple(
        _answer(rows, judged, asked, raced.get(tuple(map(plain, rows[list(GROUP)].iloc[0])), 0))
        for rows in groups
        if not finds_nothing(rows)
    )
    reported = {answer.built.refusal for answer in answers}
    return Summary(
        answers,
        (
            *(_no_answer(rows) for rows in groups if finds_nothing(rows)),
            *(_nothing_faithful(rows) for rows in unfaithful),
        ),
        find_foretold(tidied, judged),
        find_caveats(tidied, reported),
        rows=len(tidied),
        skipped=int(count.get("skipped", 0)),
        built=int(count.get("built", 0)),
        unfaithful=int(count.get("unfaithful", 0)),
        raced=int(count.get("raced", 0)),
        tidied=tidied,
    )


def summarize_folder(table: pd.DataFrame, folder: Path) -> Summary:
    """The same, with the files that the sweep's folder holds beside its table."""
    return summarize(table, Judgements(folder), read_settings(folder))


def _nothing_faithful(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return (
        f"{group_name(first[list(GROUP)])}: no run is recommended, as "
        "none computes its Q/DQ file correctly. The warnings say why."
    )


def _no_answer(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return (
        f"{group_name(first[list(GROUP)])}: no run is recommended, as "
        f"FP32 itself detects nothing ({first['metric']} {rows['fp32'].max():.3f}). Check the "
        "preprocessing (size, colour order, scale, mean) and the weights."
    )


def _answer(rows: pd.DataFrame, judgements: Judgements, settings: Settings, raced: int) -> Answer:
    """Of a group's tidy, measured rows; ``raced`` other configurations lost a race."""
    results = read_results(rows, judgements)
    one_machine = count_machines(rows) == 1
    rounding = known(rows["rounding_sd"].max())
    choice = choose(results, judgements, settings, rounding, one_machine, raced)
    best = choice.best
    others = sorted((r for r in results if r.run_key != best.run_key), key=lambda r: -r.delta)
    # The same configuration with another size is not a rival: take another calibrator or plan.
    rivals = [
        r
        for r in others
        if (r.calibrator_label, r.plan_label) != (best.calibrator_label, best.plan_label)
    ] or others
    first = rows.iloc[0]
    images = known(rows["n_images"].min())
    return Answer(
        model=str(first["model"]),
        dataset=str(first["dataset"]),
        engine=engine_name(str(first["engine"]), str(first["measured_on"])),
        metric=str(first["metric"]) or "metric",
        n_images=None if images is None else int(images),
        choice=choice,
        max_loss=settings.max_loss,
        few_images=_few_images(rows),
        runner_up=rivals[0] if rivals else None,
        calibrators=calibrator_ranges(results),
        effects=axis_effects(rows),
        results=tuple(sorted(results, key=lambda r: -r.delta)),
        advice=what_to_try(rows) if choice.fit == "outside" else (),
        next_steps=next_steps(best, results, choice, rows),
        built=find_built(best.rows, [one for result in results for one in result.rows]),
    )


def _few_images(rows: pd.DataFrame) -> str:
    """Why the interval may be too narrow; or ""."""
    per_class = known(rows["images_per_class"].min())
    if per_class is None or per_class >= FEWEST_PER_CLASS:
        return ""
    return (
        f"Too few images for a 95 % interval: {per_class:.1f} per class on average, where "
        f"{FEWEST_PER_CLASS} are needed; the true loss may be larger."
    )
