"""Before anything is recommended: the leading configurations again, with other calibration sets.

A single calibration set may be lucky. So the configuration that would be recommended and its
nearest rivals, one of another calibrator and one of another plan, are run with further seeds; if
that brings another one to the front, that one too. How far rounding alone moves the recommended
accuracy is measured then.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from bench.compose import build_typed
from bench.errors import BenchError
from bench.report.result import Result
from bench.report.summary import Answer, summarize_folder
from bench.results.store import RowStore
from bench.results.table import make_table
from bench.rounding import rounded_accuracies
from bench.run import execute_once

ROUNDS = 2
"""How often the leaders may change."""

SEED = "calibration.seed="


def confirm(folder: Path, seeds: int, roundings: int) -> None:
    """Add rows of the leading configurations with so many further seeds to the folder, and what
    rounding does to the recommended one. What cannot be repeated is told, and left."""
    for number in range(ROUNDS if seeds else 0):
        jobs = [
            job
            for answer in _answers(folder)
            for leader in (_leaders(answer) if number == 0 else [answer.best])
            for job in _further(leader, seeds)
        ]
        if not jobs:
            break
        _run_all(folder, jobs)
    for answer in _answers(folder) if roundings else ():
        if not RowStore(folder).has_rounding(answer.best.run_key):
            _attempt(answer.best.name, partial(_measure, folder, answer.best, roundings))


def _answers(folder: Path) -> Sequence[Answer]:
    table = make_table(RowStore(folder).rows())
    return () if table.empty else summarize_folder(table, folder).answers


def _further(leader: Result, seeds: int) -> Iterator[tuple[str, list[str]]]:
    """Name and overrides of the runs that a configuration lacks."""
    missing = seeds + 1 - leader.sets
    typed = shlex.split(leader.overrides)
    if missing <= 0 or not typed:
        return
    used = {int(row["calibration_seed"]) for row in leader.rows}
    rest = [override for override in typed if not override.startswith(SEED)]
    free = (seed for seed in range(len(used) + missing) if seed not in used)
    for seed, _ in zip(free, range(missing), strict=False):
        yield leader.name, [*rest, f"{SEED}{seed}"]


def _leaders(answer: Answer) -> list[Result]:
    """What is recommended, and its nearest rivals."""
    best = answer.best
    rivals = [result for result in answer.results if result.run_key != best.run_key]
    other_rule = next((r for r in rivals if r.rule != best.rule), None)
    other_plan = next((r for r in rivals if r.setting != best.setting), None)
    chosen = [best, *(rival for rival in (other_rule, other_plan) if rival is not None)]
    return list({result.run_key: result for result in chosen}.values())


def _run_all(folder: Path, jobs: Sequence[tuple[str, list[str]]]) -> None:
    names = dict.fromkeys(name for name, _ in jobs)
    print(
        f"the leading configurations with other calibration sets ({len(jobs)} runs): "
        f"{'; '.join(names)}",
        file=sys.stderr,
    )
    console = Console(stderr=True)
    for name, overrides in track(jobs, "confirming", console=console, transient=True):
        _attempt(name, partial(_run, folder, overrides))


def _run(folder: Path, overrides: Sequence[str]) -> None:
    run = build_typed(overrides)
    how = run.calibration
    if how.listed is None and how.size < len(run.calibration_order):
        execute_once(run, RowStore(folder), shlex.join(overrides))


def _measure(folder: Path, best: Result, roundings: int) -> None:
    run = build_typed(shlex.split(best.overrides))
    RowStore(folder).add_rounding(best.run_key, rounded_accuracies(run, roundings))


def _attempt(name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except BenchError as error:
        print(f"warning: {name} could not be confirmed: {error}", file=sys.stderr)
