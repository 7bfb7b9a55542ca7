"""Before a recommendation: repeat the leading configurations with other calibration sets.

A single calibration set may be lucky. So the configuration that would be recommended is run with
further seeds, and so are its nearest rivals: one with another calibrator, one with another plan. If
this makes another configuration the best, that one is repeated too. Before that, the effect of
rounding alone on the metric is measured, since smaller differences decide nothing.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import track

from bench.calibration.calibrator import is_from_file
from bench.claims.judgements import Judgements
from bench.cli.compose import build_typed
from bench.cli.messages import one_line
from bench.cli.run_line import row_line
from bench.errors import BenchError
from bench.report.reproduce import repeatable
from bench.report.result import Result
from bench.report.summary import Answer, summarize
from bench.report.wording import plural
from bench.results.settings import Settings
from bench.results.store import RowStore
from bench.run.execute import execute_once
from bench.run.leaders import Leaders
from bench.run.rounding import rounded_accuracies
from bench.run.shared import Shared
from bench.run.spec import Run

ROUNDS = 2
"""How often the leader may change."""

LEADERS = 3
"""Most configurations that are repeated: the recommended one, the best with another calibrator, and
the best with another plan."""

SEED = "calibration.seed="


@dataclass(frozen=True)
class Repetition:
    """One more run of the configuration ``name``, and the overrides that make it."""

    name: str
    run: Run
    overrides: str


def confirm(folder: Path, settings: Settings, seeds: int, roundings: int, shared: Shared) -> None:
    """Add to the folder the effect of rounding, and rows of the leading configurations with so many
    further seeds. Errors are printed as warnings."""
    if roundings:
        for answer in _answers(folder, settings):
            _measure_rounding(folder, answer, roundings, shared)
    for number in range(ROUNDS if seeds else 0):
        leaders = [
            leader
            for answer in _answers(folder, settings)
            for leader in (_leaders(answer) if number == 0 else [answer.best])
        ]
        repetitions = [one for leader in leaders for one in _repetitions(leader, seeds, shared)]
        if not repetitions:
            break
        _repeat(folder, repetitions)


def complete_raced(folder: Path, shared: Shared) -> None:
    """Complete the raced rows whose configuration has a complete row of another calibration set:
    without its bad sets, its mean would flatter it. Errors are printed as warnings."""
    store, left = RowStore(folder), []
    leaders = Leaders(store)
    leaders.refresh()
    for row in store.rows():
        if row.status == "raced" and leaders.has_complete(row.to_json()):
            with _warnings(row.run_key):
                run = build_typed(shlex.split(row.overrides), shared)
                name = f"{row.calibrator}, calibration.seed={row.calibration_seed}"
                left.append(Repetition(name, run, row.overrides))
    if left:
        print(f"completing {plural(len(left), 'raced run')}", file=sys.stderr)
        _execute(folder, left)


def _answers(folder: Path, settings: Settings) -> tuple[Answer, ...]:
    table = repeatable(RowStore(folder).table())
    return () if table.empty else summarize(table, Judgements(folder), settings).answers


def _measure_rounding(folder: Path, answer: Answer, copies: int, shared: Shared) -> None:
    """Once per group, on the configuration that would be recommended."""
    best, store = answer.best, RowStore(folder)
    if answer.choice.rounding is not None or store.has_rounding(best.run_key):
        return
    print(f"measuring what rounding alone changes ({best.name})", file=sys.stderr)
    with _warnings(best.name):
        run = build_typed(shlex.split(best.overrides), shared)
        store.add_rounding(best.run_key, rounded_accuracies(run, copies))


def _leaders(answer: Answer) -> list[Result]:
    """The recommended configuration, and its nearest rivals."""
    best = answer.best
    rivals = [result for result in answer.results if result.run_key != best.run_key]
    other_rule = next((r for r in rivals if r.calibrator_label != best.calibrator_label), None)
    other_plan = next((r for r in rivals if r.plan_label != best.plan_label), None)
    chosen = [best, *(rival for rival in (other_rule, other_plan) if rival is not None)]
    return list({result.run_key: result for result in chosen}.values())


def _repetitions(leader: Result, seeds: int, shared: Shared) -> Iterator[Repetition]:
    """The missing runs of a configuration; none where other seeds give the same images."""
    missing = seeds + 1 - leader.sets
    used = {int(row["calibration_seed"]) for row in leader.rows}
    free = [seed for seed in range(seeds + 1 + len(used)) if seed not in used]
    others = [typed for typed in shlex.split(leader.overrides) if not typed.startswith(SEED)]
    for seed in free[: max(missing, 0)]:
        with _warnings(leader.name):
            overrides = [*others, f"{SEED}{seed}"]
            run = build_typed(overrides, shared)
            how = run.calibration
            fixed = how.listed is not None or is_from_file(run.calibrator)
            if not fixed and how.size < len(run.calibration_order):
                yield Repetition(leader.name, run, shlex.join(overrides))


def _repeat(folder: Path, repetitions: list[Repetition]) -> None:
    names = dict.fromkeys(one.name for one in repetitions)
    print(
        f"repeating {'; '.join(names)} with other calibration sets ({len(repetitions)} runs)",
        file=sys.stderr,
    )
    _execute(folder, repetitions)


def _execute(folder: Path, repetitions: list[Repetition]) -> None:
    console, store = Console(stderr=True), RowStore(folder)
    for one in track(repetitions, "repetitions", console=console, transient=True):
        with _warnings(one.name):
            row = execute_once(one.run, store, one.overrides)
            console.print(row_line(row), soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _warnings(name: str) -> Iterator[None]:
    """An error of one run is printed as one line and does not stop the others."""
    try:
        yield
    except (BenchError, HydraException, OmegaConfBaseException, OSError) as error:
        print(f"warning: {name} could not be repeated: {one_line(error)}", file=sys.stderr)
