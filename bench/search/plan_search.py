"""The search for a plan: rank the layers by their noise, then measure by the metric.

Every candidate calibration has an order in which layers go to float. Trials decide how many of them
must. Trials use calibration images with labels, or the agreement of INT8 with FP32 if there are no
labels. They add one layer, then two, four, and so on until the budget is met, and then halve the
step; then each chosen layer is tried in INT8 again. With a required share of INT8 or a largest
number of layers in float, the most layers that may be in float are tried, and half of them. The row
that follows is measured on validation images, which the search has not seen.

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
from bench.results.plan_search import Budget, Trail, Trial
from bench.run.calibration_accuracy import measure_on, on_calibration_images
from bench.run.measure import fp32_model, int8_model, task_of, validation_images
from bench.run.ranges import find_run_ranges, quantize
from bench.run.spec import Run
from bench.search.candidate import Candidate
from bench.search.trial_store import stored_trial

EVERYTHING = PrecisionPlan("all")

_CODE = source_key("bench.search", "bench.diagnosis", "bench.run.calibration_accuracy")


@dataclass(eq=False)
class PlanSearch:
    """A search among ``candidates``; ``report`` is called with the trail after every trial.

    Raises ConfigError for a model whose batch is not 1, and if there are no images for the search.
    """

    candidates: Sequence[Candidate]
    request: AutoPlan
    report: Callable[[Trail], None] = lambda trail: None
    clock: Callable[[], float] = time.monotonic
    _trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin = self.clock()
        self._runs = [
            on_calibration_images(one.run, self.request.images, "plan=auto")
            for one in self.candidates
        ]

    @property
    def key(self) -> str:
        """A key that changes with everything that can change the search."""
        runs = (self._with(number, ()).key for number in range(len(self._runs)))
        return content_key(self.request, *runs, _CODE)

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
        rankings = self._rank()
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
        return replace(self._trail(), finished=True)

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
        """Try each chosen layer in INT8 again, the one with the most computation first."""
        best = self._best
        if best is None:
            return
        number = self._number(best)
        shares = rankings[number].mac_shares
        for name in sorted(best.float_nodes, key=lambda name: -shares[name]):
            if self._late:
                return
            current = self._best
            if current is not None and name in current.float_nodes:
                rest = tuple(one for one in current.float_nodes if one != name)
                self._try(number, rest)

    def _meets(self, number: int, in_float: tuple[str, ...]) -> bool:
        return self._try(number, in_float).meets(self.request.budget)

    def _try(self, number: int, in_float: tuple[str, ...]) -> Trial:
        """Measure, unless that was done before."""
        label = self.candidates[number].label
        for known in self._trials:
            if (known.candidate, set(known.float_nodes)) == (label, set(in_float)):
                return known
        run = self._with(number, in_float)
        key = content_key(run.key, _CODE)
        trial = stored_trial(
            run.cache / f"trial-{key}.json", lambda: _measure(run, label, in_float)
        )
        self._trials.append(trial)
        self.report(self._trail())
        return trial

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
        return self.clock() - self._begin > self.request.seconds

    @property
    def _best(self) -> Trial | None:
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
        )


def _measure(run: Run, label: str, in_float: tuple[str, ...]) -> Trial:
    ranges = find_run_ranges(run)
    measured = measure_on(run, int8_model(run, ranges, quantize(run, ranges)))
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
    )


def _sets(ranking: Ranking, budget: Budget) -> list[tuple[str, ...]]:
    """The ranking's sets without that of all layers: a plan must leave something in INT8."""
    sets = ranking.nested(1.0 - (budget.min_int8_mac_share or 0.0), budget.max_float_layers)
    return [one for one in sets if len(one) < len(ranking.noise)]


def _promise(ranking: Ranking, sets: Sequence[tuple[str, ...]]) -> float:
    """The noise that is left when the few worst layers are in float."""
    return ranking.noise_with(sets[min(5, len(sets) - 1)])
