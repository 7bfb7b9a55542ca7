"""What a sweep says while it works, where there is no terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli.compose import build_typed
from bench.cli.estimate import estimate_line, estimate_seconds
from bench.cli.progress import ProgressBar
from bench.results.jobs import JobFolder, JobRecord
from tests.e2e.command import CUSTOM, Bench, probed_once


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, files: Path, probes: Path) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("progress")
    with probed_once(probes):
        yield Bench(folder / "rows", folder / "cache", files)


def test_one_line_per_run_and_what_comes_after_the_last(bench: Bench) -> None:
    words = [
        "--multirun", *CUSTOM, "calibrator=minmax,entropy2", "calibration.size=2",
        "confirm.seeds=1", "confirm.roundings=1",
    ]  # fmt: skip
    ended = bench(*words)
    assert ended.status == 0
    said = ended.err
    estimate = re.search(r"2 runs and up to 4 to confirm the answer, \d+ images each: about", said)
    assert estimate
    first = re.search(r"^1/2  minmax, 2 images, plan all: Top-1 \d\.\d+ \([+-]\d\.\d+ ", said, re.M)
    second = re.search(r"^2/2  entropy2, 2 images, plan all: Top-1 ", said, re.M)
    assert first and second
    assert estimate.start() < first.start() < second.start()
    assert said.index("measuring what rounding") > second.start()
    assert re.search(r"^\d/[34]  minmax, 2 images, seed 1, plan all: Top-1 ", said, re.M)
    assert said.rstrip().splitlines()[-1] == "writing table, verdicts and report"
    assert "\x1b" not in said  # no bar, no colours

    again = bench(*words).err
    assert "2 runs finished before" in again
    assert "1/2" not in again
    assert "about" not in again


def test_what_failed_and_what_cannot_be_read(tmp_path: Path, capsys) -> None:
    jobs = JobFolder(tmp_path / "jobs").begin(3)
    with ProgressBar(tmp_path, jobs):
        jobs.write("0", "failed", JobRecord("a=1", 1.0, error="no such\nfile " + "x" * 300))
        jobs.write("1", "done", JobRecord("a=2", 2.0, run_key="ab"))
        jobs.write("2", "running", JobRecord("a=3", 3.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1/3  failed: no such file xxx")
    assert len(lines[0]) < 200
    assert lines[1:] == ["2/3  a=2: done"]


def test_an_estimate_grows_with_images_and_runs(bench: Bench) -> None:
    run = build_typed(bench.arguments(*CUSTOM, "calibrator=minmax"))
    one, two = (estimate_seconds(run, 0.01, runs) for runs in (1, 2))
    assert two > one > run.n_images * 0.01
    assert estimate_seconds(run, 0.02, 1) > one
    assert estimate_line(run, 2, 0).startswith(
        f"2 runs, {run.n_images} images each: about a minute"
    )
