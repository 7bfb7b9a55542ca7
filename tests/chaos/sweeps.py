"""The sweeps that are put through troubles: of a tiny classifier, done once undisturbed."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLongError
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.cli.app import MOST_LINES
from bench.cli.compose import build_run, compose_typed
from bench.cli.config import Config
from bench.cli.messages import one_line
from bench.cli.recovery import end_with_parent
from bench.errors import BenchError, DataError
from bench.results.store import RowStore
from bench.results.table import make_table, read_table, write_table
from bench.run.execute import execute_once
from bench.run.shared import Shared
from bench.sealed import DamagedError, from_sealed_json
from tests.chaos.counts import Counts
from tests.e2e.command import CUSTOM, PROBES, Bench, Ended
from tests.inputs import write_inputs
from tests.tiny_models import Sketch

BASE = [*CUSTOM, "dataset.calibration_images=8", "confirm.roundings=1"]
FOUR = {
    "calibration.size": ("4", "8"),
    "calibrator": ("per_tensor",),
    "plan": ("all", "float_first"),
}
SIX = {**FOUR, "plan": ("all", "float_first", "float_head")}
FACTS = (
    "status", "fp32", "int8", "delta", "ci_low", "ci_high", "sqnr_db", "input_amax",
    "planned_mac_share", "statistics_key",
)  # fmt: skip
"""What a run finds out, but for the clock and the memory."""

SECONDS = 120
"""What takes longer is a hang."""

Rows = Mapping[str, Mapping[str, Any]]
Axes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Ground:
    """A folder with models, and one whole sweep in it, with its cache and report."""

    folder: Path
    axes: Axes
    rows: Rows
    seconds: float

    @property
    def sweep(self) -> list[str]:
        """The overrides of the whole sweep."""
        return ["--multirun", *BASE, *(f"{key}={','.join(own)}" for key, own in self.axes.items())]

    @property
    def runs(self) -> tuple[tuple[str, ...], ...]:
        """Those of each of its runs."""
        return tuple(
            (*BASE, *map("=".join, zip(self.axes, values, strict=True)))
            for values in product(*self.axes.values())
        )

    @property
    def whole(self) -> Bench:
        return Bench(self.folder / "whole" / "out", self.folder / "cache", self.folder / "files")

    def fresh(self, name: str, cache: bool = True) -> Bench:
        """Empty results in a folder of their own, and a copy of the cache if so asked."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        bench = replace(self.whole, out=place / "out", cache=place / "cache")
        if cache:
            shutil.copytree(self.whole.cache, bench.cache)
        return bench

    def copy(self, name: str) -> Bench:
        """A copy of the whole sweep."""
        bench = self.fresh(name)
        shutil.copytree(self.whole.out, bench.out)
        return bench


def prepare_ground(folder: Path, axes: Axes) -> Ground:
    """Run a sweep undisturbed."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    write_inputs(folder / "files", Sketch)
    ground = Ground(folder, axes, {}, 0.0)
    bench, probes = ground.whole, folder / "probes"
    probes.mkdir()
    os.environ[PROBES] = str(probes)
    begin = time.monotonic()
    with bench.start(*ground.sweep, report=True) as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    for path in bench.cache.glob("probe-*.json"):
        shutil.copy(path, probes)
    rows = read_rows(bench.out)
    return Ground(folder, axes, rows, time.monotonic() - begin)


def read_rows(out: Path) -> Rows:
    """By run key; raises DamagedError for a part of a row."""
    rows = {}
    for path in sorted((out / "rows").glob("*.json")):
        rows[path.stem] = from_sealed_json(path.read_bytes(), path)["row"]
    return rows


def compare(ground: Ground, out: Path, counts: Counts, what: str) -> None:
    """Count what a sweep lost, tore or changed, once it has ended well."""
    try:
        rows = read_rows(out)
        table = read_table(out)
    except (DamagedError, DataError) as error:
        counts.add("rows_torn", f"{what}: {error}")
        return
    missing = ground.rows.keys() - rows.keys()
    counts.add("rows_lost", f"{what}: {sorted(missing)}", len(missing))
    for key in ground.rows.keys() & rows.keys():
        wrong = [name for name in FACTS if not _same(rows[key][name], ground.rows[key][name])]
        counts.add("silently_wrong", f"{what}: {key} differs in {wrong}", bool(wrong))
    doubled = len(table) - table["run_key"].nunique()
    counts.add("rows_doubled", f"{what}: of table.csv", doubled)
    absent = len(rows) - table["run_key"].nunique()
    counts.add("rows_lost", f"{what}: of table.csv", max(absent, 0))


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, (float, int)):
        return found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    return bool(found == expected)


def check_words(ended: Ended, counts: Counts, what: str, statuses: tuple[int, ...] = (0,)) -> bool:
    """Whether a command ended as it should; counts what it said amiss."""
    if "Traceback" in ended.err + ended.out or ended.status not in statuses:
        last = ended.err.strip().splitlines()[-1:]
        counts.add("tracebacks", f"{what}: status {ended.status}, {last}")
        return False
    # A line for each run that failed in its own way; some more are counted in a last one.
    if ended.status and not 1 <= len(ended.errors) <= MOST_LINES + 1:
        counts.add("tracebacks", f"{what}: {len(ended.errors)} lines say what was wrong")
    return not ended.status


class Worker:
    """A process of its own that runs commands one after the other, so that a hang can be ended and
    a crash be counted."""

    def __init__(self) -> None:
        self._pool = self._open()

    @staticmethod
    def _open() -> ProcessPoolExecutor:
        context = get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent)

    def execute(self, ground: Ground, bench: Bench) -> Ended:
        """The runs of a sweep and its table, without Hydra, which takes most of the time."""
        return self._ask(_execute, ground.runs, bench)

    def command(self, *words: str) -> Ended:
        """A command with these words."""
        return self._ask(_command, words)

    def _ask(self, call: Callable[..., int], *given: object) -> Ended:
        try:
            return self._pool.submit(_heard, call, *given).result(SECONDS)
        except TooLongError:
            for process in self._pool._processes.values():
                process.kill()
            self._reopen()
            return Ended(-1, "", "hang")
        except BrokenProcessPool:
            self._reopen()
            return Ended(-2, "", "Traceback: the process crashed")

    def _reopen(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._open()

    def close(self) -> None:
        self._pool.shutdown()


def _heard(call: Callable[..., int], *given: object) -> Ended:
    """In the worker; an exception that escapes is what a user would see as a traceback."""
    said, complained = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(complained):
        try:
            status = call(*given)
        except Exception as error:
            print(f"Traceback: {type(error).__name__} {error}", file=sys.stderr)
            status = 1
    return Ended(status, said.getvalue(), complained.getvalue())


def _command(words: Sequence[str]) -> int:
    return main(list(words))


def _execute(runs: Sequence[Sequence[str]], bench: Bench) -> int:
    try:
        with Shared() as shared:
            for overrides in runs:
                run = build_run(_composed(tuple(bench.arguments(*overrides))), shared)
                execute_once(run, RowStore(bench.out), "")
            write_table(make_table(RowStore(bench.out).rows()), bench.out)
    except (BenchError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


@cache
def _composed(overrides: tuple[str, ...]) -> Config:
    return compose_typed(overrides)


def leftovers(*folders: Path) -> list[Path]:
    """Temporary files that nobody removed."""
    return [path for folder in folders for path in folder.rglob(".*.tmp")]


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
