"""What becomes of the runs of a sweep one by one: failed, tried again, not timed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.cli import sweep
from bench.cli.status import main as status
from bench.run.execute import execute_once
from tests.e2e.command import CUSTOM, Bench

pytestmark = pytest.mark.e2e

PAIR = [*CUSTOM, "calibrator=minmax,mse"]


@pytest.fixture
def bench(tmp_path: Path, files: Path) -> Bench:
    return Bench(tmp_path / "out", tmp_path / "cache", files)


def test_a_run_that_goes_wrong_costs_itself_alone_and_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def mostly(run: Any, *rest: Any) -> Any:
        made.append(run.calibrator.name)
        if run.calibrator.name == "minmax" and len(made) == 1:
            raise TypeError("a fault of ours")
        return execute_once(run, *rest)

    monkeypatch.setattr(sweep, "execute_once", mostly)
    ended = bench("--multirun", *PAIR)
    assert ended.status == 2
    assert ended.errors == ["error: TypeError: a fault of ours"]
    assert [row["calibrator"] for _, row in bench.table.iterrows()] == ["mse"]
    assert (bench.out / "table.csv").is_file()
    (failed,) = (bench.out / "jobs").glob("*.failed")
    record = json.loads(failed.read_text())
    assert "Traceback" in record["traceback"]
    assert "calibrator=minmax" in record["overrides"]
    assert status([str(bench.out)]) == 0
    assert "1 failed: run the same command to repeat only these" in capsys.readouterr().out

    kept = bench.rows[0].stat().st_mtime_ns
    assert bench("--multirun", *PAIR).status == 0
    assert len(bench.rows) == 2
    assert kept in {path.stat().st_mtime_ns for path in bench.rows}
    assert not list((bench.out / "jobs").glob("*.failed"))


def test_many_runs_that_fail_each_in_its_own_way_are_a_few_lines(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Any, *rest: Any) -> Any:
        raise OSError(28, "No space left on device", f"rows/{run.key}.json")

    monkeypatch.setattr(sweep, "execute_once", fail)
    ended = bench("--multirun", *CUSTOM, "calibration.size=1,2,3,4", "plan=all,float_first")
    assert ended.status == 2
    assert len(ended.errors) == 6
    assert ended.errors[-1] == "error: 3 more; int8bench status FOLDER lists them"


def test_without_timing_a_row_has_its_accuracy_and_no_latency(bench: Bench) -> None:
    words = [word for word in CUSTOM if not word.startswith("timing.")]
    bare = bench("timing=off", "timing.rounds=0", *words, report=True)
    assert bare.status == 0, bare.err
    (row,) = (row for _, row in bench.table.iterrows())
    assert row["status"] == "ok"
    assert row["int8"] is not None
    assert row["timing"] == row["latency_note"] == ""
    assert row["int8_latency_p50_ms"] is None or math.isnan(row["int8_latency_p50_ms"])
    assert row["int8_mac_share"] > 0
    assert bench(*CUSTOM).status == 0  # timed, it is another run
    assert sorted(bench.table["timing"]) == ["", "alone"]
