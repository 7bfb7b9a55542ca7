"""Killed workers and parents: one line, a table of what is finished, and nobody runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import cast

import psutil
import pytest
from hydra.types import HydraContext
from omegaconf import OmegaConf

from bench.cli.further import FurtherJobs
from bench.cli.sweep import Asked, Sweep
from bench.results.settings import Settings
from bench.results.table import read_table
from tests.e2e.command import CUSTOM, ROOT, Bench, wait_for

pytestmark = pytest.mark.e2e

SLOW = [*CUSTOM, "timing.rounds=1000000", "timing.seconds=0.3", "calibration.seed=range(20)"]
WORKERS = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.fixture
def bench(tmp_path: Path, files: Path) -> Bench:
    return Bench(tmp_path / "out", tmp_path / "cache", files)


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes that run jobs, not those that watch over resources."""
    children = psutil.Process(pid).children(recursive=True)
    return [own for own in children if any("popen_loky" in word for word in own.cmdline())]


def has_ended(pid: int) -> bool:
    """Also if nobody has asked for its exit status."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_broken_pool_is_one_line_and_leaves_a_table(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench(*CUSTOM).status == 0
    (bench.out / "table.csv").unlink()

    def broken(sweep: Sweep) -> None:
        launcher = OmegaConf.create({"hydra": {"launcher": {"_target_": "Basic"}}})
        further = FurtherJobs(launcher, cast(HydraContext, None))
        sweep.start_runs(Asked(bench.out, Settings(), further), 2)
        raise BrokenProcessPool("a process was terminated abruptly")

    monkeypatch.setattr("bench.cli.app._run", broken)
    ended = bench("--multirun", *CUSTOM, "plan=all,float_first")
    assert ended.status == 2
    assert ended.one_line.startswith("error: a worker of the launcher was killed")
    assert len(read_table(bench.out)) == 1


START = """
import multiprocessing, os, sys, time
from bench.cli.recovery import end_with_parent

def work(pipe):
    late = int(sys.argv[1])
    if not late:
        end_with_parent()
    pipe.send(os.getpid())
    time.sleep(late)
    end_with_parent()
    time.sleep(600)

if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("fork").Process(target=work, args=(theirs,)).start()
    print(ours.recv(), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("late", [0, 1])
def test_a_worker_ends_with_its_parent(late: int) -> None:
    """Also with one that was killed before the worker had its first job."""
    command = [sys.executable, "-c", START, str(late)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        if not late:
            parent.wait()  # else it is a zombie
        wait_for(lambda: has_ended(pid), 60)


HALF_SENT = """
import time
from concurrent.futures import BrokenExecutor
from joblib import Parallel, delayed
from bench.cli.recovery import WorkerWatch

def job():
    from multiprocessing.connection import Connection
    from tests.e2e.half_message import send_half
    Connection._send_bytes = send_half

if __name__ == "__main__":
    with WorkerWatch():
        try:
            Parallel(n_jobs=2)([delayed(job)(), delayed(time.sleep)(600)])
        except BrokenExecutor:
            print("the pool broke")
"""


def test_a_worker_that_is_killed_while_it_sends_breaks_the_pool() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HALF_SENT], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "the pool broke\n", ended.stderr


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_sends_is_one_line_and_leaves_a_table(
    bench: Bench,
) -> None:
    bench.lend_probes()
    words = bench.arguments(*CUSTOM, *WORKERS, "calibration.size=4,8", "timing=off")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.half_message", *words, "dataset.calibration_images=8"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: workers_of(process.pid))
    workers = workers_of(process.pid)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: a worker of the launcher was killed")
    assert "Traceback" not in err
    assert 8 in read_table(bench.out)["calibration_size"].to_numpy()
    assert not any(worker.is_running() for worker in workers)


BEFORE_ITS_FIRST_JOB = """
import os, signal, sys
from joblib.externals.loky.process_executor import ProcessPoolExecutor
from bench.cli import app

start = ProcessPoolExecutor._adjust_process_count

def start_and_be_killed(pool):
    start(pool)  # with the lock of the pool
    print(*pool._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

ProcessPoolExecutor._adjust_process_count = start_and_be_killed
app.main(["--multirun", *sys.argv[1:]])
"""


def test_workers_end_with_a_parent_that_is_killed_while_it_starts_them(bench: Bench) -> None:
    words = bench.arguments(*CUSTOM, *WORKERS, "calibration.size=2,4")
    ended = subprocess.run(
        [sys.executable, "-c", BEFORE_ITS_FIRST_JOB, *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60,
    )  # fmt: skip
    pids = [int(word) for word in ended.stdout.split()]
    assert len(pids) == 2
    wait_for(lambda: all(map(has_ended, pids)), 60)


@pytest.mark.slow
def test_a_killed_worker_is_one_line_and_leaves_a_table(bench: Bench) -> None:
    process = bench.start("--multirun", *SLOW, *WORKERS)
    wait_for(lambda: len(bench.rows) > 1)
    workers_of(process.pid)[0].kill()
    out, err = process.communicate(timeout=180)
    assert process.returncode == 2, err
    assert "Traceback" not in err + out
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: a worker of the launcher was killed")
    assert 1 < len(read_table(bench.out)) == len(bench.rows) < 20


@pytest.mark.slow
def test_workers_end_with_their_parent_and_leave_nothing(bench: Bench) -> None:
    process = bench.start("--multirun", *SLOW, *WORKERS)
    wait_for(lambda: len(bench.rows) > 1)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def test_what_killed_writers_left_is_removed_at_the_next_start(bench: Bench) -> None:
    assert bench(*CUSTOM).status == 0
    for folder in (bench.cache, bench.out / "rows", bench.out):
        (folder / ".left.npy.abc_1234").touch()
        os.utime(folder / ".left.npy.abc_1234", (0, 0))
    assert bench(*CUSTOM).status == 0
    assert not [*bench.cache.glob(".left*"), *bench.out.rglob(".left*")]
