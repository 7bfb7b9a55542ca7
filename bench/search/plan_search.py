"""The search for a plan: rank the layers by their noise, then measure by the metric.

Every candidate calibration has an order in which layers go to float. Trials decide how many of them
must. Trials use calibration images with labels, or the agreement of INT8 with FP32 if there are no
labels. They add one layer, then two, four, and so on until the budget is met, and then halve the
step; then groups of the chosen layers are tried in INT8 again. With a required share of INT8 or a
largest number of layers in float, the most layers that may be in float are tried, and half of them.
A trial ends early once it is proven that it cannot be chosen. With ``latency``, layers whose INT8
costs time go to float in the end. The row that follows is measured on validation images, which the
search has not seen.

PPQ's ``graphwise_error_analyse`` ranks layers by the same signal, noise at the outputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bench.cache import content_key, source_key
from bench.data.overlap import count_shared
from bench.data.search_images import SearchImages
from bench.diagnosis.ranking import Quantized, Ranking, images_for, rank_layers
from bench.quantization.auto_plan import AutoPlan
from bench.quantization.plan import PrecisionPlan
from bench.results.plan_latency import LatencyTrail
from bench.results.plan_search import Budget, Trail, Trial
from bench.run.calibration_accuracy import measure_on, on_calibration_images
from bench.run.measure import fp32_model, int8_model, task_of, validation_images
from bench.run.ranges import find_run_ranges, quantize
from bench.run.spec import Run
from bench.search.candidate import Candidate
from bench.search.latency import LatencySearch, check_latency, place_of
from bench.search.take_back import needed
from bench.search.trial_store import stored_rankings, stored_trial

EVERYTHING = PrecisionPlan("all")

FOR_LATENCY = 0.25
"""The part of ``plan.seconds`` that ``plan.latency`` may take, and more where it is left."""

_CODE = source_key(
    "bench.search", "bench.diagnosis", "bench.evaluation", "bench.run.calibration_accuracy",
    "bench.run.gather", "bench.run.measure", "bench.run.race",
)  # fmt: skip


@dataclass(eq=False)
class PlanSearch:
    """A search among ``candidates``; ``report`` is called with the trail after every trial.

    Raises ConfigError for a model whose batch is not 1, if there are no images for the search, and
    for ``latency`` with a run that is not timed.
    """

    candidates: Sequence[Candidate]
    request: AutoPlan
    report: Callable[[Trail], None] = lambda trail: None
    clock: Callable[[], float] = time.monotonic
    _trials: list[Trial] = field(default_factory=list)
    _latency: tuple[LatencyTrail, Trial] | None = None

    def __post_init__(self) -> None:
        if self.request.latency:
            check_latency(self.candidates[0].run)
        self._begin = self.clock()
        self._runs = [
            on_calibration_images(one.run, self.request.images, "plan=auto")
            for one in self.candidates
        ]

    @property
    def key(self) -> str:
        """A key that changes with everything that can change the search."""
        place = place_of(self.candidates[0].run) if self.request.latency else ""
        return content_key(self.request, *self._keys, place, _CODE)

    @property
    def _keys(self) -> list[str]:
        return [self._with(number, ()).key for number in range(len(self._runs))]

    @property
    def overlap(self) -> int | None:
        """How many of the search images are also evaluated in the row; None where they are not
        files."""
        run, images = self.candidates[0].run, self._runs[0].dataset
        assert isinstance(images, SearchImages)
        return count_shared(
            run.dataset.calibration, images.indices, run.dataset.validation, run.validation_indices
        )

    def run(self) -> Trail:
        """Search to the end, or until the time is up."""
        rankings = self.rankings()
        budget = self.request.budget
        nested = [_sets(ranking, budget) for ranking in rankings]
        numbers = range(len(rankings))
        for number in sorted(numbers, key=lambda i: _promise(rankings[i], nested[i])):
            if budget.bounds_float:
                self._most_accurate(number, nested[number])
            else:
                self._fewest(number, nested[number])
        if not budget.bounds_float:
            self._take_back(rankings)
        self._complete_best()
        if self.request.latency:
            self._make_faster()
        return replace(self._trail(), finished=True)

    def rankings(self) -> list[Ranking]:
        """Each candidate's layers in the order in which they go to float; stored on disk."""
        path = self._runs[0].cache / f"ranking-{content_key(*self._keys, _CODE)}.json"
        return stored_rankings(path, self._rank)

    def _rank(self) -> list[Ranking]:
        first = self._with(0, ())
        images = validation_images(first)
        ways = []
        for number in range(len(self._runs)):
            run = self._with(number, ())
            ranges = find_run_ranges(run)
            ways.append(Quantized(quantize(run, ranges), ranges.points))
        count = min(images_for(first.graph), len(images))
        return rank_layers(
            fp32_model(first),
            first.graph,
            ways,
            first.model.head,
            [partial(images.batch, number, 1) for number in range(count)],
        )

    def _fewest(self, number: int, sets: Sequence[tuple[str, ...]]) -> None:
        """The shortest prefix of the order that meets the budget; none if another candidate needs
        fewer layers."""
        best = self._best
        last = len(sets) - 1
        if best is not None and best.meets(self.request.budget):
            shares = [self._share(number, chosen) for chosen in sets]
            better = [k for k, share in enumerate(shares) if share > best.int8_mac_share]
            if not better or not self._meets(number, sets[better[-1]]):
                return
            last = better[-1]
        low, high = -1, 0
        while high < last and not self._meets(number, sets[high]):
            if self._late:
                return
            low, high = high, min(2 * high + 1, last)
        if not self._meets(number, sets[high]):
            return
        while high - low > 1 and not self._late:
            middle = (low + high) // 2
            low, high = (low, middle) if self._meets(number, sets[middle]) else (middle, high)

    def _most_accurate(self, number: int, sets: Sequence[tuple[str, ...]]) -> None:
        """Try the most layers that may be in float, then half of them, while the loss does not
        grow; only once if another candidate is much better."""
        best, size = self._best, len(sets) - 1
        loss = math.inf
        while not self._late:
            trial = self._try(number, sets[size])
            far = best is not None and trial.loss - 2 * (trial.error or 0.0) > best.loss
            if size == 0 or trial.loss > loss or far:
                return
            size, loss = size // 2, trial.loss

    def _take_back(self, rankings: Sequence[Ranking]) -> None:
        """Try groups of the chosen layers in INT8 again, those with the most computation first.

        With no more trials than one per layer: where nearly all are needed, groups need more.
        """
        best = self._best
        if best is None or not best.meets(self.request.budget):
            return
        number = self._number(best)
        shares = rankings[number].mac_shares
        most = len(self._trials) + len(best.float_nodes)

        def enough(some: tuple[str, ...]) -> bool:
            return not self._late and len(self._trials) < most and self._meets(number, some)

        needed(sorted(best.float_nodes, key=lambda name: shares[name]), enough)

    def _make_faster(self) -> None:
        """Layers whose INT8 costs time go to float, if the network is faster and no less
        accurate."""
        plan = self._best
        if plan is None:
            return
        number, budget = self._number(plan), self.request.budget
        run = self.candidates[number].run

        def report(latency: LatencyTrail, best: Trial) -> None:
            self._latency = latency, best
            self.report(self._trail())

        self._latency = LatencySearch(
            run,
            plan,
            batch=validation_images(self._with(number, ())).batch(0, run.measurement.batch_size),
            try_plan=partial(self.trial, number),
            no_worse=lambda trial: (
                trial.loss <= plan.loss
                and trial.dropped_after is None
                and trial.meets(budget) >= plan.meets(budget)
            ),
            allowed=lambda chosen: budget.allows(self._share(number, chosen), len(chosen)),
            late=lambda: self.clock() - self._begin > self.request.seconds,
            report=report,
        ).search()

    def _meets(self, number: int, in_float: tuple[str, ...]) -> bool:
        return self._try(number, in_float).meets(self.request.budget)

    def _try(self, number: int, in_float: tuple[str, ...]) -> Trial:
        """Measure and report, unless that was done before."""
        count = len(self._trials)
        trial = self.trial(number, in_float)
        if len(self._trials) > count:
            self.report(self._trail())
        return trial

    def trial(self, number: int, in_float: tuple[str, ...]) -> Trial:
        """A measurement of a candidate with these layers in float; stored on disk."""
        label = self.candidates[number].label
        for known in self._trials:
            if (known.candidate, set(known.float_nodes)) == (label, set(in_float)):
                return known
        trial = self._measured(number, in_float, self._most_loss)
        self._trials.append(trial)
        return trial

    def _measured(self, number: int, in_float: tuple[str, ...], most_loss: float) -> Trial:
        run, label = self._with(number, in_float), self.candidates[number].label
        key = content_key(run.key, most_loss, _CODE)
        return stored_trial(
            run.cache / f"trial-{key}.json", lambda: _measure(run, label, in_float, most_loss)
        )

    def _complete_best(self) -> None:
        """Measure the best trial on all images if all trials were dropped."""
        best = self._best
        if best is not None and best.dropped_after is not None:
            place = self._trials.index(best)
            self._trials[place] = self._measured(self._number(best), best.float_nodes, math.inf)

    @property
    def _most_loss(self) -> float:
        """A trial that is proven to lose more cannot be chosen, and ends early."""
        budget, best = self.request.budget, self._best
        if budget.max_loss is not None and not budget.bounds_float:
            return budget.max_loss
        return math.inf if best is None or best.dropped_after is not None else best.loss

    def _with(self, number: int, in_float: tuple[str, ...]) -> Run:
        plan = PrecisionPlan("search", tuple(f"node:{name}" for name in in_float))
        return replace(self._runs[number], plan=plan if in_float else EVERYTHING)

    def _share(self, number: int, in_float: tuple[str, ...]) -> float:
        graph = self._runs[number].graph
        whole = sum(graph.macs(name) for name in graph.compute)
        return 1 - sum(graph.macs(name) for name in in_float if name in graph.compute) / whole

    def _number(self, trial: Trial) -> int:
        return [one.label for one in self.candidates].index(trial.candidate)

    @property
    def _late(self) -> bool:
        """Whether the time for accuracy is up: a part of all is for latency."""
        part = 1.0 - FOR_LATENCY if self.request.latency else 1.0
        return self.clock() - self._begin > part * self.request.seconds

    @property
    def _best(self) -> Trial | None:
        if self._latency is not None:
            return self._latency[1]
        return max(self._trials, key=lambda trial: trial.rank(self.request.budget), default=None)

    def _trail(self) -> Trail:
        run, best = self._runs[0], self._best
        task = task_of(run)
        return Trail(
            self.request.budget,
            task.metric,
            f"{run.n_images} {run.dataset.name}",
            tuple(self._trials),
            best,
            best is not None and best.meets(self.request.budget),
            self.clock() - self._begin,
            finished=False,
            latency=self._latency[0] if self._latency else None,
        )


def _measure(run: Run, label: str, in_float: tuple[str, ...], most_loss: float) -> Trial:
    ranges = find_run_ranges(run)
    measured = measure_on(run, int8_model(run, ranges, quantize(run, ranges)), most_loss)
    difference = measured.difference
    error = (difference.high - difference.low) / 2 / 1.96 if difference.known else None
    return Trial(
        label,
        in_float,
        ranges.points.mac_share(ranges.graph),
        measured.fp32,
        measured.int8,
        -difference.estimate / measured.fp32,
        None if error is None else error / measured.fp32,
        measured.images if measured.images < run.n_images else None,
    )


def _sets(ranking: Ranking, budget: Budget) -> list[tuple[str, ...]]:
    """The ranking's sets without that of all layers: a plan must leave something in INT8."""
    sets = ranking.nested(1.0 - (budget.min_int8_mac_share or 0.0), budget.max_float_layers)
    return [one for one in sets if len(one) < len(ranking.noise)]


def _promise(ranking: Ranking, sets: Sequence[tuple[str, ...]]) -> float:
    """The noise that is left when the few worst layers are in float."""
    return ranking.noise_with(sets[min(5, len(sets) - 1)])
