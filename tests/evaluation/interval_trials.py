"""How often the harness' intervals cover the truth: trials on images drawn from a population.

Each trial draws images without replacement, judges FP32 and every INT8 system on them, and asks the
real code for its intervals: ``Judgements`` for those of one row, ``choose`` for the recommended row
and its wider one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.claims.judgements import Judgements, Record
from bench.evaluation.bootstrap import paired_bootstrap, resample_weights
from bench.evaluation.estimate import Interval, Weights
from bench.evaluation.interval import HALVES, half_samples
from bench.evaluation.judgement import Judgement, Resampled, count_images
from bench.report.choice import choose
from bench.report.result import Result
from bench.results.settings import Settings
from tests.evaluation.populations import (
    Integers,
    Population,
    images_per_class,
    least_error,
    replicates,
)

Pools = Sequence[Sequence[int]]
"""Of every configuration its systems: one of each calibration set that might have been drawn."""


@dataclass
class Tally:
    """What became of intervals of one kind."""

    covered: list[float] = field(default_factory=list)
    false_gains: list[float] = field(default_factory=list)

    def add(self, interval: Interval, truth: float) -> None:
        """A gain is false where the interval lies above zero and above the truth."""
        self.covered.append(interval.low <= truth <= interval.high)
        self.false_gains.append(interval.low > max(truth, 0.0))

    @property
    def coverage(self) -> float:
        return float(np.mean(self.covered))

    @property
    def false_gain(self) -> float:
        return float(np.mean(self.false_gains))


@dataclass(frozen=True)
class Coverage:
    """Of one setting. ``one``: the interval of any row; ``bootstrap``: the percentile interval of
    the first row; ``naive`` and ``widened``: of the recommended row, its interval of one row and
    the one in the answer. ``images_per_class`` is a mean over trials, None for a classifier."""

    one: Tally
    bootstrap: Tally
    naive: Tally
    widened: Tally
    images_per_class: float | None


def coverage_of(
    population: Population,
    n_images: int,
    trials: int,
    *,
    pools: Pools | None = None,
    sets: int = 1,
    halves: int = HALVES,
    resamples: int = 0,
    seed: int = 0,
) -> Coverage:
    """Every system is a configuration, unless ``pools`` say which systems are one's calibration
    sets: a trial draws ``sets`` of them, and the truth is the mean of all.

    Without ``resamples`` there is no bootstrap.
    """
    pools = pools or [[system] for system in range(1, len(population.truths) + 1)]
    truths = [float(np.mean([population.truths[s - 1] for s in pool])) for pool in pools]
    rng = np.random.default_rng(seed)
    tally: dict[str, Tally] = defaultdict(Tally)
    weights = _with_all(half_samples(n_images, halves))
    again = _with_all(resample_weights(n_images, resamples))
    per_class = []
    for _ in range(trials):
        images = rng.choice(population.n_images, n_images, replace=False)
        drawn = [rng.choice(pool, sets, replace=False) for pool in pools]
        kept = Kept(population, images, weights)
        results = [kept.result(index, own) for index, own in enumerate(drawn)]
        for result, truth in zip(results, truths, strict=True):
            tally["one"].add(_interval(result), truth)
        if resamples:
            systems = [population.judged(system, images) for system in drawn[0]]
            tally["bootstrap"].add(_percentile(kept.fp32, systems, again), truths[0])
        best = choose(results, kept, Settings(), None, False).best
        own = int(best.run_key)
        tally["naive"].add(_interval(results[own]), truths[own])
        assert best.difference.known
        tally["widened"].add(best.difference, truths[own])
        per_class.append(images_per_class(kept.fp32))
    known = [count for count in per_class if count is not None]
    mean = float(np.mean(known)) if known else None
    return Coverage(
        *(tally[n] for n in ("one", "bootstrap", "naive", "widened")), images_per_class=mean
    )


class Kept(Judgements):
    """What the runs of a sweep on ``images`` kept: in memory instead of files."""

    def __init__(self, population: Population, images: Integers, weights: Weights) -> None:
        super().__init__(None)
        self._population, self._images, self._weights = population, images, weights
        self.fp32 = population.judged(0, images)
        self._base = replicates(self.fp32, weights)
        self._runs: dict[str, Resampled] = {}

    def result(self, index: int, systems: Sequence[int]) -> Result:
        """The configuration of this ``index``, whose run key it becomes."""
        rows = [self._row(index, seed, system) for seed, system in enumerate(systems)]
        exact = self.loss(rows)
        return Result(
            difference=exact.uncertainty.interval(exact.value), run_key=str(index),
            calibrator_label=f"rule{index:02d}", plan_label="all", size=64, fp32=rows[0]["fp32"],
            int8=rows[0]["fp32"] + exact.value, latency_ms=None, speedup=None, timed_runs=1,
            latency_note="", rows=tuple(rows), exact=exact,
        )  # fmt: skip

    def _row(self, index: int, seed: int, system: int) -> Record:
        judged = self._population.judged(system, self._images)
        values, key = replicates(judged, self._weights), f"{index}-{seed}"
        count, least = count_images(judged), least_error(judged)
        self._runs[key] = Resampled(values[1:], self._base[1:], "truth", count, least)
        fp32, int8 = float(self._base[0]), float(values[0])
        return {
            "run_key": key, "calibration_seed": seed, "fp32": fp32, "int8": int8,
            "delta": int8 - fp32, "n_images": count,
        }  # fmt: skip

    def _resampled(self, run_key: str) -> Resampled | None:
        return self._runs[run_key]


def _with_all(weights: Weights) -> Weights:
    """The draws behind one of all images."""
    return np.concatenate([np.ones((1, weights.shape[1]), dtype=np.int32), weights])


def _interval(result: Result) -> Interval:
    return result.exact.uncertainty.interval(result.exact.value)


def _percentile(fp32: Judgement, systems: Sequence[Judgement], weights: Weights) -> Interval:
    before = replicates(fp32, weights)
    after = np.mean([replicates(judged, weights) for judged in systems], axis=0)
    return paired_bootstrap(float(after[0] - before[0]), before[1:], after[1:])
