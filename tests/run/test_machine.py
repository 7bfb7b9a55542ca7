"""Runs in several processes on one machine: timed alone, each on cores of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench.run.machine import Machine

WORK = """
import sys, time
from pathlib import Path
from bench.run.machine import Machine
machine = Machine(Path(sys.argv[1]))
for _ in range(3):
    with machine.busy():
        began = time.monotonic()
        time.sleep(0.02)
        print("busy", began, time.monotonic())
        with machine.alone() as sharing:
            began = time.monotonic()
            time.sleep(0.05)
            print(sharing, began, time.monotonic())
"""

PIN = """
import sys, psutil
from pathlib import Path
from bench.run.machine import Machine
machine = Machine(Path(sys.argv[1]))
machine.keep_to_cores(1, 30)
print(*psutil.Process().cpu_affinity(), flush=True)
sys.stdin.read()
"""


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_nobody_computes_while_a_run_is_timed(tmp_path: Path) -> None:
    processes = [start(WORK, tmp_path) for _ in range(3)]
    spans: list[tuple[str, float, float, int]] = []
    for number, process in enumerate(processes):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        for line in out.splitlines():
            kind, *times = line.split()
            spans.append((kind, float(times[0]), float(times[1]), number))
    timed = [span for span in spans if span[0] == "alone"]
    assert len(timed) == 9
    for _, began, ended, number in timed:
        beside = [s for s in spans if s[3] != number and s[1] < ended and s[2] > began]
        assert not beside


def test_who_waits_in_vain_is_timed_beside_the_others(tmp_path: Path) -> None:
    other, impatient = Machine(tmp_path), Machine(tmp_path, patience_s=0.1)
    with other.busy(), impatient.busy(), impatient.alone() as sharing:
        assert sharing == "shared"
    with impatient.busy(), impatient.alone() as sharing:
        assert sharing == "alone"


def test_a_folder_that_cannot_be_had_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = Machine(tmp_path / "file" / "locks")
    with machine.busy(), machine.alone() as sharing:
        assert sharing == "shared"
    machine.keep_to_cores(1)


def test_a_single_process_needs_no_locks() -> None:
    machine = Machine()
    with machine.busy(), machine.alone() as sharing:
        assert sharing == "alone"


@pytest.mark.skipif(not 2 <= (psutil.cpu_count() or 1) <= 8, reason="starts a process a core")
def test_every_process_gets_cores_of_its_own_until_it_ends(tmp_path: Path) -> None:
    cores = psutil.cpu_count() or 1
    processes = [start(PIN, tmp_path) for _ in range(cores)]
    try:
        taken = [process.stdout.readline().split() for process in processes if process.stdout]
        assert sorted(taken) == sorted([str(core)] for core in range(cores))
        waiting = start(PIN, tmp_path)  # for the first that ends
        processes.append(waiting)
        processes[0].kill()
        processes[0].wait()
        assert waiting.stdout
        assert waiting.stdout.readline().split() == taken[0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
