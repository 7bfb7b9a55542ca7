"""A sweep: what its runs share, what it has printed, and what to conclude when it ends.

Hydra calls a job by its name and makes a callback from its class, and passes neither an object. So
a process stores its open sweep in a context variable; a launcher's processes open theirs with their
first job.
"""

from __future__ import annotations

import atexit
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig
from rich.console import Console

from bench.cache import write_atomically
from bench.cli.compose import build_run, machine_of
from bench.cli.conclusion import conclude_folder, print_places
from bench.cli.config import Config, settings_of
from bench.cli.confirm import LEADERS, Finished, complete_raced, confirm
from bench.cli.estimate import estimate_line
from bench.cli.further import FurtherJobs
from bench.cli.launchers import cores_of_job, end_workers, is_joblib
from bench.cli.messages import one_line
from bench.cli.plan_search import choose_plan, is_open
from bench.cli.progress import ProgressBar
from bench.cli.recovery import WorkerWatch, end_with_parent
from bench.cli.status import failure_lines
from bench.evaluation.racing import FEWEST_UNITS, Prefixes
from bench.results.folder import SweepFolder
from bench.results.jobs import JobFolder
from bench.results.row import Row
from bench.results.settings import Settings
from bench.results.store import RowStore
from bench.run.execute import execute_once, finished
from bench.run.leaders import Leaders
from bench.run.measure import classes_evaluated
from bench.run.race import Race
from bench.run.rounding import rounded_accuracies
from bench.run.shared import Shared
from bench.run.spec import Run


@dataclass(frozen=True)
class Asked:
    """A folder for rows, and the settings of its conclusion."""

    folder: Path
    settings: Settings
    further: FurtherJobs
    confirm_seeds: int = 0
    confirm_roundings: int = 0
    race: bool = False

    @property
    def launcher(self) -> DictConfig:
        return self.further.config.hydra.launcher  # type: ignore[no-any-return]


class Sweep:
    """A context manager; inside it, this sweep is the open sweep of the process."""

    def __init__(self, launched: bool = False) -> None:
        """``launched``: this is a process of a launcher, for some of the sweep's jobs."""
        self.shared = Shared()
        self.folders: list[Path] = []
        """Where its rows go."""
        self._launched = launched
        self._asked: list[tuple[Asked, JobFolder]] = []
        self._total = 1
        self._said_how_long = False
        self._trackers: list[Callable[[Path], None]] = []
        self._said: set[str] = set()
        self._bar = ExitStack()

    def __enter__(self) -> Sweep:
        self._before = _OPEN.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _OPEN.reset(self._before)
        self.end_runs()
        self.shared.close()

    def start_runs(self, asked: Asked, total: int | None) -> None:
        """Remember what to conclude, and show how many of several runs have ended."""
        try:
            jobs = JobFolder(SweepFolder(asked.folder).jobs).begin(total)
        except OSError as error:
            raise SystemExit(one_line(error)) from error
        self._asked.append((asked, jobs))
        self._total = total or 1
        self.folders.append(asked.folder)
        if is_joblib(asked.launcher):
            self._bar.enter_context(WorkerWatch())
        if total != 1:
            self._bar.enter_context(ProgressBar(asked.folder, jobs))

    def at_end(self, track: Callable[[Path], None]) -> None:
        """Call this with each folder of rows when it is concluded."""
        self._trackers.append(track)

    def end_runs(self) -> None:
        """Remove the progress bar, if there is one."""
        self._bar.close()

    def say(self, line: str, about: str = "") -> None:
        """Print a line once on stderr; with ``about``, only the first line about that topic."""
        if (about or line) not in self._said:
            self._said.add(about or line)
            print(line, file=sys.stderr)

    def run(self, config: DictConfig, begin: Callable[[Run], None]) -> Row:
        """The row of this configuration, measured unless it exists. ``begin`` is called before a
        measurement."""
        run = build_run(cast(Config, config), self.shared)
        typed, trail = _typed(), None
        if is_open(run):
            begin(run)
            run, typed, trail = choose_plan(run, typed, self.shared, Path(config.sweep.out))
        if self._launched:
            self._keep_to_cores(HydraConfig.get().launcher, config.sweep.locks)
        self.say(f"{run.model.name}: weights {run.model.weights}")
        self._warn_of_overlap(run)
        self._warn_of_classes_left_out(run)
        folder = Path(config.sweep.out)
        store = self.shared.once("store", folder, lambda: RowStore(folder))
        race = self._race(config, folder, store)
        if race is not None:
            self._warn_of_no_race(run)
        row = finished(run.key, store, race)
        if row is None:
            begin(run)
            self._say_how_long(run, race is not None)
            if trail is not None:
                write_atomically(SweepFolder(folder).plan_search(run.key), trail.to_bytes())
            row = execute_once(run, store, shlex.join(typed), race)
            if row.published_note:
                self.say(f"warning: {run.model.name}: {row.published_note}")
        return row

    def _race(self, config: DictConfig, folder: Path, store: RowStore) -> Race | None:
        if not config.sweep.race:
            return None
        leaders = self.shared.once("leaders", folder, lambda: Leaders(store))
        return Race(leaders, settings_of(config), JobFolder(SweepFolder(folder).jobs).total())

    def _warn_of_no_race(self, run: Run) -> None:
        """Warn where no run can end early."""
        batches = -(-run.n_images // run.measurement.batch_size)
        if not Prefixes.of(batches, run.measurement.seed).looks:
            what = "images" if run.measurement.batch_size == 1 else "batches"
            self.say(
                f"warning: sweep.race=true ends no run early: {run.n_images} images are too few, "
                f"since nothing is decided on fewer than {FEWEST_UNITS} {what} or on more than "
                "half of them. Evaluate more images, or in smaller batches",
                about="no race",
            )

    def _say_how_long(self, run: Run, racing: bool) -> None:
        """Once, before the first run that is made in this process."""
        if self._total > 1 and not self._said_how_long:
            self._said_how_long = True
            asked = self._asked[-1][0]
            again = LEADERS * asked.confirm_seeds + asked.confirm_roundings
            sooner = ". In a race many of them end earlier" if racing else ""
            self.say(estimate_line(run, self._total, again) + sooner)

    def _keep_to_cores(self, launcher: DictConfig, locks: str) -> None:
        if cores := cores_of_job(launcher):
            machine_of(locks, self.shared).keep_to_cores(cores.count, cores.patience_s)

    def _warn_of_overlap(self, run: Run) -> None:
        """Once per dataset, for any number of calibration sizes."""
        if run.calibration_overlap:
            self.say(
                f"warning: dataset {run.dataset.name}: calibration images are also evaluated "
                f"({run.calibration_overlap} of {run.calibration.size}), so INT8 looks better than "
                "it is. Calibrate on images that are not evaluated",
                about=f"overlap {run.dataset.name}",
            )

    def _warn_of_classes_left_out(self, run: Run) -> None:
        """Warn where a sample of the images has half of the classes or fewer; the row has the
        numbers."""
        if run.n_images == len(run.dataset.validation):
            return
        n_seen, n_classes = classes_evaluated(run), len(run.dataset.class_names)
        if n_seen is not None and 2 * n_seen <= n_classes:
            self.say(
                f"warning: dataset {run.dataset.name}: evaluation.images={run.n_images} draws "
                f"images of {n_seen} of {n_classes} classes; the others are not measured. Evaluate "
                "more images, or all with evaluation.images=null",
                about=f"classes {run.dataset.name} {run.n_images}",
            )

    def measure_rounding(self, config: DictConfig) -> None:
        """Store beside a finished row of this configuration what rounding alone changes."""
        run = build_run(cast(Config, config), self.shared)
        if self._launched:
            self._keep_to_cores(HydraConfig.get().launcher, config.sweep.locks)
        with run.machine.busy():
            values = rounded_accuracies(run, config.confirm.roundings)
        RowStore(Path(config.sweep.out)).add_rounding(run.key, values)

    def confirm(self, repeat: TaskFunction, measure_rounding: TaskFunction) -> None:
        """Launch what is still missing before a recommendation, as jobs of these functions."""
        for asked, jobs in self._asked:
            further = asked.further
            sweep = Finished(
                folder=asked.folder,
                settings=asked.settings,
                jobs=jobs,
                further=further,
                repeat=further.launches(repeat, jobs),
                measure_rounding=further.launches(measure_rounding, jobs),
                shared=self.shared,
            )
            if asked.race:
                complete_raced(sweep)
            confirm(sweep, asked.confirm_seeds, asked.confirm_roundings)
            end_workers(asked.launcher)

    def conclude(self) -> list[str]:
        """Write the tables and reports of what has finished, and print both.

        Returns the errors, each line once.
        """
        wrong: list[str] = []
        while self._asked:
            asked, jobs = self._asked.pop()
            wrong += failure_lines(jobs.records("failed"))
            jobs.end()
            console = Console()
            if conclude_folder(asked.folder, asked.settings, console) is None:
                continue
            for track in self._trackers:
                track(asked.folder)
            print_places(asked.folder, console)
        return wrong


_OPEN: ContextVar[Sweep] = ContextVar("open sweep")


def open_sweep() -> Sweep:
    """The open sweep of this process. A launcher's process has none before its first job; it opens
    one, and closes it when it ends."""
    try:
        return _OPEN.get()
    except LookupError:
        end_with_parent()
        sweep = Sweep(launched=True).__enter__()
        atexit.register(sweep.shared.close)
        return sweep


def _typed() -> list[str]:
    """The typed overrides of this run, without its tracking, which does not change the row."""
    typed = HydraConfig.get().overrides.task
    return [word for word in typed if not word.lstrip("+~").startswith("tracking")]
