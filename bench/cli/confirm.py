"""Before a recommendation: repeat the leading configurations with other calibration sets.

A single calibration set may be lucky. So the configuration that would be recommended is run with
further seeds, and so are its nearest rivals: one with another calibrator, one with another plan. If
this makes another configuration the best, that one is repeated too. Before that, the effect of
rounding alone on the metric is measured, since smaller differences decide nothing.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.calibration.calibrator import is_from_file
from bench.claims.judgements import Judgements
from bench.cli.compose import build_typed
from bench.cli.further import FurtherJobs, Launch
from bench.cli.messages import one_line
from bench.engine.base import Emulating
from bench.errors import BenchError
from bench.report.reproduce import repeatable
from bench.report.result import Result
from bench.report.summary import Answer, summarize
from bench.report.wording import plural
from bench.results.jobs import JobFolder
from bench.results.settings import Settings
from bench.results.store import RowStore
from bench.run.leaders import Leaders
from bench.run.shared import Shared

ROUNDS = 2
"""How often the leader may change."""

LEADERS = 3
"""Most configurations that are repeated: the recommended one, the best with another calibrator, and
the best with another plan."""

SEED = "calibration.seed="


@dataclass(frozen=True, eq=False)
class Finished:
    """A sweep whose runs have ended, and what launches further jobs."""

    folder: Path
    settings: Settings
    jobs: JobFolder
    further: FurtherJobs
    repeat: Launch
    """Launches runs."""
    measure_rounding: Launch
    shared: Shared


@dataclass(frozen=True)
class Repetition:
    """One more run of the configuration ``name``, and the overrides that make it."""

    name: str
    overrides: Sequence[str]


def confirm(sweep: Finished, seeds: int, roundings: int) -> None:
    """Add to the folder the effect of rounding, and rows of the leading configurations with so many
    further seeds. What cannot be repeated is printed as a warning."""
    if roundings:
        _measure_rounding(sweep, roundings)
    for number in range(ROUNDS if seeds else 0):
        leaders = [
            leader
            for answer in answers_in(sweep.folder, sweep.settings)
            for leader in (_leaders(answer) if number == 0 else [answer.best])
        ]
        repetitions = [one for leader in leaders for one in _repetitions(leader, seeds, sweep)]
        if not repetitions:
            break
        names = "; ".join(dict.fromkeys(one.name for one in repetitions))
        runs = plural(len(repetitions), "run")
        print(f"repeating {names} with other calibration sets ({runs})", file=sys.stderr)
        _repeat(sweep, repetitions)


def complete_raced(sweep: Finished) -> None:
    """Complete the raced rows whose configuration has a complete row of another calibration set:
    without its bad sets, its mean would flatter it. What cannot be completed is printed as a
    warning."""
    store, left = RowStore(sweep.folder), []
    leaders = Leaders(store)
    leaders.refresh()
    for row in store.rows():
        if row.status == "raced" and leaders.has_complete(row.to_json()):
            with _warnings(row.run_key):
                words = sweep.further.words(shlex.split(row.overrides))
                name = f"{row.calibrator}, calibration.seed={row.calibration_seed}"
                left.append(Repetition(name, words))
    if left:
        print(f"completing {plural(len(left), 'raced run')}", file=sys.stderr)
        _repeat(sweep, left)


def answers_in(folder: Path, settings: Settings) -> tuple[Answer, ...]:
    """The answers of the rows that can be measured again here."""
    table = repeatable(RowStore(folder).table())
    return () if table.empty else summarize(table, Judgements(folder), settings).answers


def _measure_rounding(sweep: Finished, copies: int) -> None:
    """Once per group, on the configuration that would be recommended."""
    store, jobs = RowStore(sweep.folder), []
    for answer in answers_in(sweep.folder, sweep.settings):
        best = answer.best
        if answer.choice.rounding is not None or store.has_rounding(best.run_key):
            continue
        with _warnings(best.name):
            words = sweep.further.words(shlex.split(best.overrides))
            run = build_typed(words, sweep.shared)
            if isinstance(run.engine, Emulating) and run.key == best.run_key:
                print(f"measuring what rounding alone changes ({best.name})", file=sys.stderr)
                jobs.append([*words, f"confirm.roundings={copies}"])
    if jobs:
        sweep.measure_rounding(jobs)


def _leaders(answer: Answer) -> list[Result]:
    """The recommended configuration, and its nearest rivals."""
    best = answer.best
    rivals = [result for result in answer.results if result.run_key != best.run_key]
    other_rule = next((r for r in rivals if r.calibrator_label != best.calibrator_label), None)
    other_plan = next((r for r in rivals if r.plan_label != best.plan_label), None)
    chosen = [best, *(rival for rival in (other_rule, other_plan) if rival is not None)]
    return list({result.run_key: result for result in chosen}.values())


def _repetitions(leader: Result, seeds: int, sweep: Finished) -> Iterator[Repetition]:
    """The missing runs of a configuration; none where other seeds give the same images."""
    missing = seeds + 1 - leader.sets
    if missing <= 0:
        return
    used = {int(row["calibration_seed"]) for row in leader.rows}
    free = [seed for seed in range(seeds + 1 + len(used)) if seed not in used]
    with _warnings(leader.name):
        typed = sweep.further.words(shlex.split(leader.overrides))
        for seed in free[:missing]:
            words = _with_seed(typed, seed)
            run = build_typed(words, sweep.shared)
            how = run.calibration
            fixed = how.listed is not None or is_from_file(run.calibrator)
            if not fixed and how.size < len(run.calibration_order):
                yield Repetition(leader.name, words)


def _with_seed(typed: Sequence[str], seed: int) -> list[str]:
    """These overrides with another seed, in its place if they have one."""
    word = f"{SEED}{seed}"
    others = [word if one.startswith(SEED) else one for one in typed]
    return others if word in others else [*others, word]


def _repeat(sweep: Finished, repetitions: Sequence[Repetition]) -> None:
    sweep.jobs.add(len(repetitions))
    sweep.repeat([one.overrides for one in repetitions])


@contextmanager
def _warnings(name: str) -> Iterator[None]:
    """An error of one run is printed as one line and does not stop the others."""
    try:
        yield
    except (BenchError, HydraException, OmegaConfBaseException, OSError) as error:
        print(f"warning: {name} could not be repeated: {one_line(error)}", file=sys.stderr)
