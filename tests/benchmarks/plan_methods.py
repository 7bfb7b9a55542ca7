"""Ways to search a plan beside each other: ``python -m tests.benchmarks.plan_methods``.

``plan=auto``, greedy revert-and-check, and Optuna with two objectives (loss, and the share of
multiply-accumulates in float) get the same number of trials on the same images, and the same
ranking of layers. Optuna chooses how many layers of the ranking are in float and which layers to
flip; the prefixes with which ``plan=auto`` begins are its first trials. Their fronts are compared
by hypervolume, on the search images and on the validation images. It needs the extra ``optuna``.

The hypervolume is the share of a rectangle that a front dominates: losses from 0 to that of all
layers in INT8, and from 0 to ``MOST_FLOAT`` of the multiply-accumulates in float.
"""

from __future__ import annotations

import argparse
import csv
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

from bench.cache import write_atomically
from bench.cli.compose import build_typed
from bench.diagnosis.ranking import Ranking
from bench.evaluation.task import compare
from bench.quantization.auto_plan import AutoPlan
from bench.quantization.plan import PrecisionPlan
from bench.results.plan_search import Trial
from bench.run.measure import int8_model, measure_accuracy
from bench.run.ranges import find_run_ranges, quantize
from bench.run.shared import Shared
from bench.run.spec import Run
from bench.search.candidate import Candidate
from bench.search.plan_search import PlanSearch

MOST_FLOAT = 0.05
FLIPPED = 16
"""Layers at the beginning of the ranking that Optuna may flip."""
FIRST = (0, 1, 3, 7)
"""Prefixes of the ranking that it is told to try first."""


@dataclass(frozen=True)
class Line:
    """One search. ``layers``, ``float_share`` and ``validation_loss`` are those of its best trial
    within the budget by the search images; None where no trial is."""

    method: str
    seed: int
    trials: int
    front: int
    hypervolume: float
    validation_hypervolume: float
    layers: int | None
    float_share: float | None
    loss: float | None
    validation_loss: float | None


def hypervolume(points: Sequence[tuple[float, float]], corner: tuple[float, float]) -> float:
    """The share of the rectangle from (0, 0) to ``corner`` that these points dominate.

    >>> hypervolume([(0.5, 0.0), (0.0, 0.5)], (1.0, 1.0))
    0.75
    """
    area, reached = 0.0, corner[1]
    for x, y in sorted((max(x, 0.0), max(y, 0.0)) for x, y in points):
        if x < corner[0] and y < reached:
            area += (corner[0] - x) * (reached - y)
            reached = y
    return area / (corner[0] * corner[1])


def front_of(trials: Sequence[Trial]) -> list[Trial]:
    """Those that no other trial beats in loss and in the share of INT8."""
    found: list[Trial] = []
    for trial in sorted(trials, key=lambda one: (-one.int8_mac_share, one.loss)):
        if not found or trial.loss < found[-1].loss:
            found.append(trial)
    return found


def by_plan_auto(search: PlanSearch, count: int) -> list[Trial]:
    return list(search.run().trials)[:count]


def by_greed(search: PlanSearch, ranking: Ranking, count: int) -> list[Trial]:
    """One layer more goes to float with each trial, in the order of the ranking, as in NNCF's
    quantization with accuracy control."""
    return [search.trial(0, sets) for sets in ranking.nested()[:count]]


def by_optuna(
    search: PlanSearch, ranking: Ranking, count: int, sampler: str, seed: int
) -> list[Trial]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    samplers = {
        "TPE": lambda: optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=len(FIRST) + 2
        ),
        "NSGA-II": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=6),
    }
    order, nested = ranking.order, ranking.nested()
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=samplers[sampler]())
    for size in FIRST:
        study.enqueue_trial({"size": size} | {f"flip {i}": False for i in range(FLIPPED)})
    trials: list[Trial] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        size = trial.suggest_int("size", 0, FLIPPED)
        flips = {
            name
            for i, name in enumerate(order[:FLIPPED])
            if trial.suggest_categorical(f"flip {i}", [False, True])
        }
        in_float = tuple(name for name in order if (name in nested[size]) != (name in flips))
        trials.append(search.trial(0, in_float))
        return trials[-1].loss, 1 - trials[-1].int8_mac_share

    study.optimize(objective, n_trials=count)
    return trials


def validation_loss(run: Run, in_float: tuple[str, ...]) -> float:
    plan = PrecisionPlan("search", tuple(f"node:{name}" for name in in_float))
    with_plan = replace(run, plan=plan if in_float else PrecisionPlan("all"))
    ranges = find_run_ranges(with_plan)
    model = int8_model(with_plan, ranges, quantize(with_plan, ranges))
    fp32, int8 = measure_accuracy(with_plan, with_plan.engine, model)
    return -compare(fp32, int8).estimate / fp32.value


def compare_methods(words: Sequence[str], seeds: int, more: int) -> Iterator[Line]:
    """``more``: how many times the trials of ``plan=auto`` Optuna gets in one further search."""
    with Shared() as shared:
        run = build_typed([*words, "plan=auto", "plan.seconds=1e9"], shared)
        assert isinstance(run.plan, AutoPlan)
        budget = run.plan.budget
        make = partial(PlanSearch, [Candidate((), run)], run.plan)
        [ranking] = make().rankings()
        ours = by_plan_auto(make(), 10**6)
        count, known = len(ours), dict[frozenset[str], float]()
        worst = make().trial(0, ()).loss

        def line(method: str, seed: int, trials: Sequence[Trial]) -> Line:
            front = front_of(trials)
            within = [one for one in trials if one.meets(budget)]
            best = max(within, key=lambda one: one.rank(budget), default=None)
            losses = []
            for trial in [*front, *([best] if best else [])]:
                nodes = frozenset(trial.float_nodes)
                if nodes not in known:
                    known[nodes] = validation_loss(run, trial.float_nodes)
                losses.append(known[nodes])
            return Line(
                method, seed, len(trials), len(front),
                hypervolume(
                    [(one.loss, 1 - one.int8_mac_share) for one in front], (worst, MOST_FLOAT)
                ),
                hypervolume(
                    [
                        (loss, 1 - one.int8_mac_share)
                        for one, loss in zip(front, losses, strict=False)
                    ],
                    (worst, MOST_FLOAT),
                ),
                len(best.float_nodes) if best else None,
                1 - best.int8_mac_share if best else None,
                best.loss if best else None,
                losses[-1] if best else None,
            )  # fmt: skip

        yield line("plan=auto", 0, ours)
        yield line("greedy", 0, by_greed(make(), ranking, count))
        for sampler in ("TPE", "NSGA-II"):
            for seed in range(seeds):
                trials = by_optuna(make(), ranking, count, sampler, seed)
                yield line(f"Optuna {sampler}", seed, trials)
        if more > 1:
            trials = by_optuna(make(), ranking, more * count, "TPE", 0)
            yield line("Optuna TPE", 0, trials)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="+", help="overrides, such as model=yolov8n")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--more", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("plan-methods.csv"))
    given = parser.parse_args(arguments)
    lines: list[Line] = []
    for line in compare_methods(given.words, given.seeds, given.more):
        lines.append(line)
        print(line, flush=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, [one.name for one in fields(Line)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(one) for one in lines)
        write_atomically(given.out, text.getvalue().encode())


if __name__ == "__main__":
    main()
