"""Before a sweep recommends anything, its leaders are measured with other calibration sets."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from bench.cli import sweep
from bench.errors import EngineError
from bench.report.summary import summarize_folder
from bench.results.settings import Settings, read_settings
from bench.results.table import read_table
from bench.sealed import from_sealed_json, to_sealed_json
from tests.e2e.command import CUSTOM, Bench

pytestmark = pytest.mark.e2e

SWEEP = ["--multirun", *CUSTOM, "calibrator=minmax,entropy2,mse", "plan=all,float_first"]
PAIR = ["--multirun", *CUSTOM, "calibrator=minmax,mse"]
CONFIRM = ["confirm.seeds=2", "confirm.roundings=2"]


def test_leaders_are_repeated_and_what_rounding_does_is_measured(bench: Bench) -> None:
    ended = bench(*SWEEP, *CONFIRM)
    assert ended.status == 0, ended.err
    assert "with other calibration sets (" in ended.err
    table = read_table(bench.out)
    sets = table.groupby(["calibrator", "plan"])["calibration_seed"].nunique()
    assert len(sets) == 6 and set(sets) == {1, 3}
    assert (sets == 3).sum() >= 3  # the best, a rival of another calibrator, one of another plan
    (answer,) = summarize_folder(table, bench.out).answers
    assert answer.best.sets == 3
    assert "3 calibration sets" in answer.scope
    (rounded,) = (bench.out / "rounding").iterdir()
    assert len(json.loads(rounded.read_text())["values"]) == 3  # as it is, and moved twice
    assert table.set_index("run_key")["rounding_sd"].notna().sum() == 1

    again = table[table["calibration_seed"] > 0]
    seeds = [word for typed in again["overrides"] for word in shlex.split(typed) if "seed=" in word]
    assert set(seeds) == {"calibration.seed=1", "calibration.seed=2"}
    files = {path: path.stat().st_mtime_ns for path in (*bench.rows, rounded)}
    assert bench(*SWEEP, *CONFIRM).status == 0
    kept = (*bench.rows, *(bench.out / "rounding").iterdir())
    assert {path: path.stat().st_mtime_ns for path in kept} == files  # nothing is left to confirm


def test_the_launcher_of_the_sweep_makes_them(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a cluster the process that started the sweep may have neither a GPU nor cores to spare."""

    def here(*given: object) -> None:
        raise AssertionError("computed in the process that started the sweep")

    monkeypatch.setattr(sweep, "execute_once", here)
    monkeypatch.setattr(sweep, "rounded_accuracies", here)
    run.lend_probes()
    workers = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    ended = run(*PAIR, *workers, "confirm.seeds=1", "confirm.roundings=1")
    assert ended.status == 0, ended.err
    assert len(run.rows) == 4
    assert "4/4  " in ended.err
    assert len(list((run.out / "rounding").iterdir())) == 1


def test_what_fails_then_is_an_error_like_any_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise EngineError("a library is missing", "Install it")

    monkeypatch.setattr(sweep, "rounded_accuracies", fail)
    ended = bench(*PAIR, "confirm.seeds=1", "confirm.roundings=1")
    assert ended.errors == ["error: a library is missing. Install it"]
    assert ended.status == 2
    assert len(read_table(bench.out)) == 4  # further calibration sets are measured all the same


def test_rows_of_another_place_are_repeated_in_this_folder(bench: Bench, tmp_path: Path) -> None:
    """As of a sweep that was copied or renamed."""
    moved = Bench(tmp_path / "moved", bench.cache, bench.files)
    assert bench(*PAIR).status == 0
    bench.out.rename(moved.out)
    ended = moved(*PAIR, "confirm.seeds=1")
    assert ended.status == 0, ended.err
    assert "2 runs finished before" in ended.err
    assert len(moved.rows) == 4
    assert not bench.out.exists()


def test_nothing_is_repeated_where_other_seeds_give_the_same_images(bench: Bench) -> None:
    ended = bench(*PAIR, *CONFIRM, "calibration.size=6")
    assert ended.status == 0, ended.err
    assert "other calibration sets" not in ended.err
    assert len(bench.rows) == 2


def test_what_cannot_be_confirmed_is_told_and_costs_nothing(bench: Bench) -> None:
    assert bench(*PAIR).status == 0
    rows = bench.rows
    for path in rows:  # a file that is gone, and an option of an earlier version
        content = from_sealed_json(path.read_bytes(), path)
        typed = content["row"]["overrides"].replace("classifier.onnx", "gone.onnx")
        content["row"]["overrides"] = typed.replace("calibrator=mse", "calibrator=mse old.option=1")
        path.write_bytes(to_sealed_json(content))
    other = ["--multirun", *CUSTOM, "calibrator=legacy", "calibration.size=3"]
    ended = bench(*other, *CONFIRM)
    assert ended.status == 0, ended.err
    assert "could not be repeated" in ended.err and "gone.onnx" in ended.err
    assert (read_table(bench.out)["calibrator"] == "legacy").any()


def test_an_engine_that_only_the_workers_have_is_not_asked_for(bench: Bench) -> None:
    """As TensorRT, in a process that only launches: it has no rounding to measure."""
    assert bench(*PAIR).status == 0
    for path in bench.rows:
        content = from_sealed_json(path.read_bytes(), path)
        content["row"]["overrides"] += " engine=tensorrt"
        path.write_bytes(to_sealed_json(content))
    ended = bench(*PAIR, "confirm.roundings=1")
    assert ended.status == 0, ended.err
    assert "could not be repeated" not in ended.err
    assert not list(bench.out.glob("rounding/*"))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("max_loss=lots", "max_loss=lots is not a share. Write 1% or 0.01, or null for none"),
        ("max_loss=200%", "max_loss=2 is out of range. Use a share above 0 and below 1, or null"),
        ("report.margin=0", "report.margin=0 is out of range. Use a share above 0 and below 1"),
        ("confirm.seeds=-1", "confirm.seeds=-1 is below 0. Use 0 or more"),
    ],
)
def test_what_makes_no_sense_is_one_line(bench: Bench, given: str, line: str) -> None:
    ended = bench(*SWEEP, given)
    assert ended.status == 2
    assert line in ended.one_line
    assert bench.left_nothing


def test_a_limit_for_the_loss_stays_with_the_folder(bench: Bench) -> None:
    given = ["max_loss=1%", "report.margin=0.02"]
    assert bench("--multirun", *CUSTOM, *given, report=True).status == 0
    assert read_settings(bench.out) == Settings(margin=0.02, max_loss=0.01)
    page = (bench.out / "report.html").read_text()
    assert "no more than 1 % of FP32" in page
