"""The jobs of a sweep, as Hydra's launchers call them, in any process."""

from __future__ import annotations

import math
import shlex
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.cli.messages import one_line
from bench.cli.sweep import open_sweep
from bench.errors import BenchError, ConfigError
from bench.results.folder import SweepFolder
from bench.results.jobs import JobFolder, JobRecord, JobState
from bench.results.row import COLUMNS, Row
from bench.run.spec import Run


class OpenJob:
    """The record of a job in the sweep's folder: that it runs, has ended, or why it failed."""

    def __init__(self, folder: Path) -> None:
        hydra = HydraConfig.get()
        self._jobs = JobFolder(SweepFolder(folder).jobs)
        alone = OmegaConf.is_missing(hydra.job, "num")  # a single run
        self._name = "0" if alone else str(hydra.job.num)
        self._record = JobRecord(shlex.join(hydra.overrides.task), time.time())

    def begin(self, run: Run) -> None:
        """Record that the job has work to do."""
        self._record = replace(self._record, run_key=run.key)
        self._jobs.write(self._name, "running", self._record)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """An error inside ends this job only: its line is stored in the sweep's folder for the
        conclusion."""
        try:
            yield
        except (BenchError, HydraException, OmegaConfBaseException, OSError) as error:
            self.end("failed", one_line(error))
        except Exception as error:
            line = f"{type(error).__name__}: {one_line(error)}"
            self.end("failed", line, traceback.format_exc())

    def end(self, state: JobState, error: str = "", trace: str = "") -> None:
        """``trace``: where this program itself failed."""
        seconds = time.time() - self._record.started
        record = replace(self._record, seconds=seconds, error=error, traceback=trace)
        self._jobs.write(self._name, state, record)


def job(config: DictConfig) -> float | tuple[float, ...]:
    """One run of a sweep, for Hydra: returns the columns that ``sweep.objective`` names, for a
    sweeper that searches."""
    record = OpenJob(Path(config.sweep.out))
    with record.failures():
        row = open_sweep().run(config, record.begin)
        values = [_value(row, name) for name in config.sweep.objective]
        record.end("done")
        return _result(values)
    return _result([math.nan] * len(config.sweep.objective))


def rounding_job(config: DictConfig) -> None:
    """Measure what rounding changes for a finished run of a sweep."""
    with OpenJob(Path(config.sweep.out)).failures():
        open_sweep().measure_rounding(config)


def _result(values: Sequence[float]) -> float | tuple[float, ...]:
    """A sweeper with one objective expects a single number."""
    return values[0] if len(values) == 1 else tuple(values)


def _value(row: Row, column: str) -> float:
    """nan where the row has none, or lost its race: on some of the images it is another number.
    ConfigError for a column without numbers."""
    if column not in COLUMNS or COLUMNS[column].kind == "text":
        raise ConfigError(
            f"sweep.objective={column} is not a column of numbers", "Use for instance int8"
        )
    value = getattr(row, column)
    return math.nan if value is None or row.status == "raced" else float(value)
