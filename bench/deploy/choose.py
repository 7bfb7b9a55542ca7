"""Which row of a sweep is to be deployed, and the run that made it, as objects again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.cli.compose import build_typed
from bench.errors import ConfigError, DataError
from bench.report.summary import summarize_folder
from bench.results.row import Row
from bench.results.store import RowStore
from bench.results.table import make_table
from bench.run.shared import Shared
from bench.run.spec import Run


def choose_row(folder: Path, key: str | None) -> Row:
    """The row of ``key``, or the one that the report recommends.

    Raises DataError where there is no such row, ConfigError for one that cannot be deployed.
    """
    rows = [row for row in RowStore(folder).rows() if not row.measured_on]
    if not rows:
        raise DataError(
            f"{folder} holds no finished runs", "Name a sweep's folder, as in results/SWEEP"
        )
    wanted = key or _recommended(rows, folder)
    row = next((row for row in rows if row.run_key == wanted), None)
    if row is None:
        raise DataError(
            f"{folder} has no run {wanted}", "Its table.csv lists them in the column run_key"
        )
    if row.status == "skipped":
        raise ConfigError(f"run {wanted} was skipped ({row.error})", "Choose one that was measured")
    if row.status == "raced":
        raise ConfigError(
            f"run {wanted} lost its race and was not evaluated to its end ({row.error})",
            "Run the same sweep without sweep.race=true, which completes it, or choose another run",
        )
    if row.status == "unfaithful":
        raise ConfigError(
            f"run {wanted} is unfaithful: {row.error.rstrip('.')}",
            "Or choose another run: --run KEY",
        )
    _refuse_serialized(row)
    if row.int8 is None:
        raise ConfigError(f"run {wanted} has no accuracy", "Choose one that was measured")
    if row.scheme != "symmetric":
        raise ConfigError(
            f"run {wanted} has scheme={row.scheme}, which TensorRT does not know",
            "Choose one with scheme=symmetric",
        )
    return row


def _refuse_serialized(row: Row) -> None:
    """An engine is loaded only where the user names its file."""
    if row.accuracy_by == "serialized engine":
        raise ConfigError(
            f"run {row.run_key} is a serialized engine, of which there is no Q/DQ file",
            "Choose another run: --run KEY",
        )


def _recommended(rows: Sequence[Row], folder: Path) -> str:
    summary = summarize_folder(make_table(rows), folder)
    answers = summary.answers
    if not answers and summary.unanswered:
        raise ConfigError(summary.unanswered[0], "Or choose a run: --run KEY")
    if not answers:
        raise ConfigError(f"no run in {folder} was measured", "Run the sweep again")
    if len(answers) > 1:
        best = ", ".join(f"{answer.best.run_key} ({answer.group})" for answer in answers)
        raise ConfigError(f"{folder} has an answer for each of {best}", "Choose one: --run KEY")
    if not answers[0].fits:
        raise ConfigError(
            f"nothing in {folder} is fit to deploy: {answers[0].budget.rstrip('.')}",
            "Or choose a run: --run KEY",
        )
    return answers[0].best.run_key


def rebuild_run(row: Row, shared: Shared | None = None) -> Run:
    """The objects of the row's run, composed from what was typed for it; of ``shared`` it takes
    what runs of the same sweep made before.

    Raises ConfigError if they no longer make the same run, and for a serialized engine.
    """
    _refuse_serialized(row)
    run = build_typed(shlex.split(row.overrides), shared)
    if run.key != row.run_key:
        now = {
            "the model's file": (row.model_sha256, run.model.network.sha256),
            "the validation images": (row.dataset_fingerprint, run.dataset.validation.fingerprint),
            "the calibration images": (
                row.calibration_fingerprint,
                run.dataset.calibration.fingerprint,
            ),
            f"{row.engine}'s version": (row.engine_version, run.engine.version),
        }
        changed = [what for what, (then, is_now) in now.items() if then != is_now]
        raise ConfigError(
            f"run {row.run_key} cannot be made again: "
            f"{', '.join(changed) or 'its configuration, or this package,'} changed since",
            "Bundle from the same files and packages, or sweep again",
        )
    return run
