"""Rows in MLflow: each once, and no trouble of a tracker is a sweep's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import tracking
from bench.cli.sweep import Sweep, open_sweep
from bench.cli.tracking import MlflowTracking, Tracker
from bench.results.store import RowStore
from tests.composing import composed
from tests.report.conftest import make_row, make_skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = RowStore(tmp_path / "sweep")
    for row in (make_row(run_key="a"), make_row(run_key="b", calibrator="mse"), make_skip()):
        store.add(row, {})
    return store.folder


def test_it_is_off_unless_asked_for():
    assert composed().tracking is None
    asked = composed("tracking=mlflow", "tracking.uri=file:./elsewhere")
    assert (asked.tracking.uri, asked.tracking.experiment) == ("file:./elsewhere", "int8bench")


def test_finished_rows_are_logged_once(folder, tmp_path, monkeypatch, capsys):
    client_of = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    monkeypatch.setattr(tracking, "AT_ONCE", 1)  # answers of several pages
    uri = f"file:{tmp_path / 'mlruns'}"
    Tracker(uri, "int8bench").log(folder)
    RowStore(folder).add(make_row(run_key="c", error="", published_fp32=0.5), {})
    for _ in range(2):
        Tracker(uri, "int8bench").log(folder)
    assert capsys.readouterr().err == ""
    client = client_of.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("int8bench").experiment_id
    runs = {run.data.tags["run_key"]: run for run in client.search_runs([experiment])}
    assert sorted(runs) == ["a", "b", "c"]
    assert len(client.search_runs([experiment])) == 3
    found = runs["b"].data
    assert (found.params["calibrator"], found.params["calibration_size"]) == ("mse", "64")
    assert found.metrics["int8"] == pytest.approx(0.59)
    assert runs["c"].data.metrics["published_fp32"] == 0.5
    assert found.tags["folder"] == str(folder)
    assert runs["a"].info.status == "FINISHED"


def test_a_tracker_that_fails_is_one_warning(folder, monkeypatch, capsys):
    def fail(*arguments: object) -> None:
        raise RuntimeError("no server\nand more")

    monkeypatch.setattr(Tracker, "_log", fail)
    Tracker("http://127.0.0.1:9", "int8bench").log(folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: tracking=mlflow: rows of {folder} could not be logged at http://127.0.0.1:9 "
        "(no server)"
    )


@pytest.mark.parametrize("installed", [True, False])
def test_without_mlflow_one_line_says_what_to_install(installed, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "find_spec", lambda name: object() if installed else None)
    with Sweep():
        MlflowTracking("file:./mlruns", "int8bench").on_multirun_start(composed())
        assert bool(open_sweep()._trackers) is installed
    said = capsys.readouterr().err.splitlines()
    assert [line.rpartition(". ")[2] for line in said] == (
        [] if installed else ["pip install 'int8-calibration-bench[mlflow]'"]
    )
