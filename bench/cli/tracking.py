"""A sweep's rows in MLflow: ``tracking=mlflow``, as a Hydra callback that is off by default.

A row is a run of MLflow: its axes are parameters, its numbers metrics, its key and texts tags. All
rows are logged when the sweep ends, those of the confirmation too, and none twice: the keys of the
experiment are read first. Skipped rows may be measured later, and are not logged.

Every error becomes one warning: a tracker must not stop a row or a sweep.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from bench.cache import only_one
from bench.cli.sweep import open_sweep
from bench.results.folder import SweepFolder
from bench.results.row import COLUMNS, Row, columns_with
from bench.results.store import RowStore

SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow 3 refuses a folder otherwise
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default a server that is down costs minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Environment variables that MLflow reads, where the user has not set them."""

KEY = "run_key"
AT_ONCE = 1_000
"""Runs that MLflow lists in one response."""


class MlflowTracking(Callback):
    """Makes the open sweep log its rows when it ends. Launchers send this object to their
    processes, where it does nothing."""

    def __init__(self, uri: str, experiment: str) -> None:
        self._tracker = Tracker(uri, experiment)

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._register()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        self._register()

    def _register(self) -> None:
        if find_spec("mlflow") is None:
            _warn(
                "mlflow is not installed, so nothing is logged. pip install "
                "'int8-calibration-bench[mlflow]'"
            )
        else:
            open_sweep().at_end(self._tracker.log)


@dataclass(frozen=True)
class Tracker:
    """An experiment at a URI."""

    uri: str
    experiment: str

    def log(self, folder: Path) -> None:
        """Log the folder's rows that the experiment lacks; if that fails, print one warning."""
        try:
            with only_one(SweepFolder(folder).tracking_lock):
                self._log(RowStore(folder).rows(), folder)
        except Exception as error:  # a server or its client can raise anything
            reason = str(error).partition("\n")[0] or type(error).__name__
            _warn(f"rows of {folder} could not be logged at {self.uri} ({reason})")

    def _log(self, rows: list[Row], folder: Path) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient  # slow to import, and optional

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(self.experiment)
        experiment = known.experiment_id if known else client.create_experiment(self.experiment)
        logged = set(_logged(client, experiment))
        for row in rows:
            if row.status not in ("skipped", "raced") and row.run_key not in logged:
                _log_row(client, experiment, row, folder)


def _logged(client: Any, experiment: str) -> Iterator[str]:
    """The keys of the experiment's finished runs; a run that was interrupted while it was logged is
    logged again."""
    token = None
    while True:
        page = client.search_runs(
            [experiment], "attributes.status = 'FINISHED'", max_results=AT_ONCE, page_token=token
        )
        yield from (run.data.tags.get(KEY, "") for run in page)
        token = page.token
        if not token:
            return


def _log_row(client: Any, experiment: str, row: Row, folder: Path) -> None:
    from mlflow.entities import Metric, Param, RunTag

    begin = int(datetime.fromisoformat(row.started_at).timestamp() * 1000)
    end = begin + int(1000 * (row.run_s or 0.0))
    name = f"{row.model} {row.calibrator} {row.calibration_size} {row.plan}"
    run = client.create_run(experiment, start_time=begin, run_name=name).info.run_id
    axes = columns_with("axis")
    given = {
        column: value for column in COLUMNS if (value := getattr(row, column)) not in (None, "")
    }
    numbers = {column: value for column, value in given.items() if COLUMNS[column].kind != "text"}
    client.log_batch(
        run,
        [
            Metric(column, float(numbers[column]), end, 0)
            for column in numbers
            if column not in axes
        ],
        [Param(column, str(given[column])) for column in given if column in axes],
        [
            *(RunTag(column, given[column]) for column in given.keys() - numbers.keys() - {*axes}),
            RunTag("folder", str(folder)),
        ],
    )
    client.set_terminated(run, end_time=end)


def _warn(line: str) -> None:
    print(f"warning: tracking=mlflow: {line}", file=sys.stderr)
