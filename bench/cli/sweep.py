"""A sweep as Hydra sees it: the job that makes a row, the progress bar, and the conclusion.

The bar is a Hydra callback, so that it works with every launcher: it counts the marks that finished
runs leave in their job folders.
"""

from __future__ import annotations

import math
import shlex
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.claims.record import write_claims
from bench.cli.compose import build_run
from bench.cli.config import Config
from bench.cli.confirm import confirm
from bench.cli.messages import one_line
from bench.errors import BenchError
from bench.report.console import print_table
from bench.report.page import write_report
from bench.report.summary import summarize_folder
from bench.results.settings import Settings, read_share, write_settings
from bench.results.store import RowStore
from bench.results.table import make_table, write_table
from bench.run.execute import execute_once
from bench.run.measure import classes_evaluated
from bench.run.spec import Run

MARK = "run_key"
"""The file by which a job says that its row is in the store."""

_announced: set[str] = set()
_bars: list[ProgressBar] = []
_finished: list[Finished] = []


def job(config: DictConfig) -> None:
    """One run of a sweep, unless its row is there already.

    Bad input ends the whole sweep, with SystemExit and the line to print: any other exception Hydra
    would keep until every job has run.
    """
    try:
        run = build_run(cast(Config, config))
        _announce(f"{run.model.name}: weights {run.model.weights}")
        _warn_of_overlap(run)
        _warn_of_classes_left_out(run)
        store = RowStore(Path(config.sweep.out))
        row = execute_once(run, store, shlex.join(HydraConfig.get().overrides.task), _company())
        if row is not None and row.published_note:
            _announce(f"warning: {run.model.name}: {row.published_note}")
    except (BenchError, OmegaConfBaseException, OSError) as error:
        raise SystemExit(one_line(error)) from error
    (Path(HydraConfig.get().runtime.output_dir) / MARK).write_text(run.key + "\n")


def _warn_of_overlap(run: Run) -> None:
    """Once for a dataset, however many sizes of calibration sets it is found in."""
    if run.calibration_overlap:
        _announce(
            f"warning: dataset {run.dataset.name}: calibration images are evaluated too "
            f"({run.calibration_overlap} of {run.calibration.size}), which flatters INT8. "
            "Calibrate on images that are not evaluated",
            about=f"overlap {run.dataset.name}",
        )


def _warn_of_classes_left_out(run: Run) -> None:
    """Where a sample of the images shows half of the classes or fewer; the row tells the rest."""
    if run.n_images == len(run.dataset.validation):
        return
    n_seen, n_classes = classes_evaluated(run), len(run.dataset.class_names)
    if n_seen is not None and 2 * n_seen <= n_classes:
        _announce(
            f"warning: dataset {run.dataset.name}: evaluation.images={run.n_images} draws images "
            f"of {n_seen} of {n_classes} classes, and the metric says nothing about the others. "
            "Evaluate more, or all with evaluation.images=null",
            about=f"classes {run.dataset.name} {run.n_images}",
        )


def _company() -> str:
    """What a latency has to say where the launcher runs jobs side by side."""
    launcher = HydraConfig.get().launcher
    if launcher["_target_"].endswith("BasicLauncher") or launcher.get("n_jobs") == 1:
        return ""
    return "other runs of the sweep shared the machine"


@dataclass(frozen=True)
class Finished:
    """A folder whose rows are to be concluded, and what was asked for that."""

    folder: Path
    settings: Settings
    confirm_seeds: int = 0
    confirm_roundings: int = 0


def confirm_leaders() -> None:
    """Run what is still to be run before the sweeps of this process recommend anything."""
    for sweep in _finished:
        confirm(sweep.folder, sweep.settings, sweep.confirm_seeds, sweep.confirm_roundings)


def conclude() -> None:
    """Write the tables and reports of what has finished in this process, and print both."""
    while _finished:
        sweep = _finished.pop()
        folder, table = sweep.folder, make_table(RowStore(sweep.folder).rows())
        if table.empty:
            continue
        write_settings(folder, sweep.settings)
        write_table(table, folder)
        write_claims(folder)
        report = write_report(folder)
        console = Console()
        print_table(table, summarize_folder(table, folder), console)
        console.print(f"Table: {folder / 'table.csv'}   Report: {report}", soft_wrap=True)


def end_progress() -> None:
    """Take the bar down, if there is one: what is printed next has the terminal for itself."""
    while _bars:
        _bars.pop().stop()


class SweepWatch(Callback):
    """Shows progress, and remembers the folder whose finished runs are to be concluded.

    Hydra makes warnings of what goes wrong in here, so the conclusion waits until it is left. It
    also sends this object to the launcher's processes: it holds nothing.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        swept = [override for override in parsed if override.is_sweep_override()]
        apart = _apart({override.key_or_group for override in swept}, config)
        if apart:
            raise SystemExit(
                f"a sweep over {' and '.join(apart)} needs one folder for all its rows. "
                "Add sweep.out=FOLDER"
            )
        repeat = config.confirm
        for name in ("seeds", "roundings"):
            if repeat[name] < 0:
                raise SystemExit(f"confirm.{name}={repeat[name]} is below 0. Use 0 or more")
        _finished.append(
            Finished(Path(config.sweep.out), _settings(config), repeat.seeds, repeat.roundings)
        )
        _bars.append(ProgressBar(Path(config.hydra.sweep.dir), _count(swept)))

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        _finished.append(Finished(Path(config.sweep.out), _settings(config)))


def _settings(config: DictConfig) -> Settings:
    try:
        return Settings(
            read_share("report.margin", config.report.margin),
            read_share("max_loss", config.max_loss),
        )
    except BenchError as error:
        raise SystemExit(one_line(error)) from error


def _count(swept: Sequence[Override]) -> int | None:
    """How many runs these overrides ask for; None where a glob leaves that to Hydra."""
    try:
        return math.prod(len(list(override.sweep_string_iterator())) for override in swept)
    except HydraException:
        return None


def _apart(swept: set[str], config: DictConfig) -> list[str]:
    """The swept keys that would send runs to folders of their own, each with its own table."""
    keys = {"sweep.out"}
    if OmegaConf.is_interpolation(config.sweep, "out"):
        keys |= {"model", "model.name", "dataset", "dataset.name"}
    return sorted(keys & swept)


class ProgressBar:
    """Counts marks under ``jobs``, from a thread, until it is stopped."""

    def __init__(self, jobs: Path, total: int | None) -> None:
        self._jobs, self._total, self._start = jobs, total, time.time()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("runs", total=self._total)
            while True:
                ended = self._ended.wait(0.3)
                marks = list(self._jobs.glob(f"*/{MARK}"))
                fresh = sum(mark.stat().st_mtime >= self._start - 1 for mark in marks)
                progress.update(task, completed=fresh)
                if ended:
                    return


def _announce(line: str, about: str = "") -> None:
    """Say it once in this process, or one thing ``about`` a matter once."""
    if (about or line) not in _announced:
        _announced.add(about or line)
        print(line, file=sys.stderr)
