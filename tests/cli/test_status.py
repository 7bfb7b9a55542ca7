"""``int8bench status``: how far a sweep is, from the files of its jobs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.status import main, summary_line
from bench.results.jobs import JobFolder, JobRecord, Progress

RECORD = JobRecord("calibrator=mse", started=1000.0)


@pytest.fixture
def jobs(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path / "jobs").begin(10)


def test_a_running_sweep_shows_what_runs_failed_and_is_left(
    jobs: JobFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        jobs.write(str(number), "running", RECORD)
        jobs.write(str(number), "done", RECORD)
    jobs.write("3", "failed", replace(RECORD, error="no such images"))
    jobs.write("4", "failed", replace(RECORD, error="no such images"))
    jobs.write("5", "running", replace(RECORD, started=time.time()))
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "5 of 10 runs ended; 1 running" in out
    assert "left; 2 failed: run the same command to repeat only these" in out
    assert "calibrator=mse" in out
    assert str(os.getpid()) in out
    assert "failed: no such images (2 runs)" in out
    assert "gone" not in out


def test_what_is_left_is_told_by_the_pace_so_far() -> None:
    running = Progress(0.0, 100, done=20, failed=(RECORD,) * 5, running=(RECORD,))
    assert "25 of 100 runs ended; 1 running; about 5 min left; 5 failed" in summary_line(
        running, 100.0
    )
    assert summary_line(Progress(0.0, 100, done=0), 100.0) == "no sweep is running"


def test_a_run_whose_process_is_gone_is_told(
    jobs: JobFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.write("0", "running", replace(RECORD, pid=2**22 + 1))
    assert main([str(tmp_path)]) == 0
    assert "(its process is gone)" in capsys.readouterr().out


def test_jobs_of_an_earlier_sweep_do_not_count(jobs: JobFolder) -> None:
    jobs.write("7", "failed", replace(RECORD, error="long ago"))
    os.utime(jobs.path / "7.failed", (1000, 1000))
    assert jobs.records("failed") == []
    assert jobs.progress().failed == ()


def test_a_record_that_is_torn_is_left_out(jobs: JobFolder) -> None:
    (jobs.path / "0.running").write_text("{")
    (jobs.path / "1.failed").write_text("[]")
    assert jobs.records("running", "failed") == []


def test_a_sweep_that_ended_leaves_what_failed(jobs: JobFolder) -> None:
    jobs.write("0", "done", RECORD)
    jobs.write("1", "failed", RECORD)
    jobs.end()
    assert sorted(path.name for path in jobs.path.iterdir()) == ["1.failed", "sweep.json"]


def test_a_folder_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert f"{tmp_path}/none does not exist" in capsys.readouterr().err


def test_further_jobs_count_too_and_take_no_number_of_a_job_that_failed(jobs: JobFolder) -> None:
    """Those that measure rounding leave a file only if they fail."""
    assert jobs.next_number() == 0
    jobs.write("0", "done", RECORD)
    jobs.write("2", "failed", RECORD)
    assert jobs.next_number() == 3
    jobs.add(2)
    assert jobs.progress().total == 12
    assert jobs.progress().started == jobs.since
