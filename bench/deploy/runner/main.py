"""Measure this kit on this machine: ``python run.py``; see README.md beside it.

It needs Python 3.8 or newer, NumPy and TensorRT (8.5 to 11; CUDA through cuda-python, or straight
from libcudart), or with --engine onnxruntime ONNX Runtime, and nothing else. What is worth most
comes first; every result is written at once; started again it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Sequence

from bench.deploy.runner.doctor import examine, python_fits
from bench.deploy.runner.files import Kit
from bench.deploy.runner.ground import (
    RESULT_VERSION,
    KitError,
    complain,
    one_line,
    read_json,
    say,
    write_json,
)
from bench.deploy.runner.jobs import Setting, run_job

SAME = ("kit", "engine", "version", "options", "gpu", "driver_cuda")
"""What results of one name have in common."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: all is measured; 1: a job failed; 2: it cannot start; 3: time was up."""
    asked = _parser().parse_args(argv)
    try:
        return _run(asked)
    except KitError as error:
        complain(f"error: {one_line(error)}")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure this kit on this machine.")
    add = parser.add_argument
    add("--engine", choices=["tensorrt", "onnxruntime"], default="tensorrt")
    add("--name", help="what this machine is called in the report (default: its host name)")
    add("--minutes", type=float, help="stop after so long; what is left is done next time")
    add("--jobs", metavar="GLOB", default="*", help="these jobs alone, as 'int8-*'; see --list")
    add("--retry", action="store_true", help="do failed and skipped jobs again")
    add("--half", action="store_true", help="layers that are not INT8 may run in FP16")
    add("--implicit", action="store_true", help="build rows from calibration caches (8.5 to 10)")
    add("--dla", type=int, metavar="CORE", help="on this DLA core, from calibration caches")
    add("--workspace-gb", type=float, default=1.0, help="scratch memory of a layer (default: 1)")
    add("--tactic-sources", metavar="NAMES", default="", help="libraries to take kernels from")
    add("--seconds", type=float, default=3.0, help="that latency is timed for; 0: not at all")
    add("--threads", type=int, default=0, help="of ONNX Runtime; 0: its own choice")
    add("--doctor", action="store_true", help="check this machine and the kit, and stop")
    add("--list", action="store_true", help="list the jobs in their order, and stop")
    add("--job", help=argparse.SUPPRESS)  # do this one in this process
    return parser


def _run(asked: Any) -> int:
    if not python_fits():
        raise KitError("Python 3.8 or newer is needed. Use another python3")
    kit = Kit(Path(__file__).resolve().parent)
    name = asked.name or re.sub(r"[^A-Za-z0-9_-]+", "-", platform.node()).strip("-") or "target"
    if not re.match(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}$", name):
        raise KitError(f"--name={name!r} may have letters, digits, - and _, 40 at most")
    results, work = kit.folder / "results" / name, kit.folder / "work" / name
    setting = Setting(kit, results, work, asked)
    jobs = [job for job in kit.facts["jobs"] if fnmatch.fnmatchcase(job["id"], asked.jobs)]
    if asked.job:
        _end_with_parent()
        run_job(setting, next(job for job in jobs if job["id"] == asked.job))
        return 0
    if not jobs:
        raise KitError(f"no job is called {asked.jobs}. --list names them")
    if asked.list:
        for job in jobs:
            say("{:28} {}".format(job["id"], job["label"]))
        return 0
    facts, wrong = examine(kit, setting.engine, kit.folder)
    if wrong or asked.doctor:
        return 2 if wrong else 0
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KitError(f"another run.py measures as {name} already. Wait for it") from None
        _keep_machine(setting, facts, name)
        return _Queue(setting, jobs, asked).work_off()


def _keep_machine(setting: Setting, facts: dict[str, Any], name: str) -> None:
    """Write machine.json; KitError where results of this name are of another machine or set-up."""
    machine = dict(facts, result=RESULT_VERSION, name=name, kit=setting.kit.id)
    machine.update(engine=setting.engine, options=setting.told())
    path = setting.results / "machine.json"
    if path.is_file():
        before = read_json(path)
        changed = [key for key in SAME if before.get(key) != machine.get(key)]
        if changed:
            raise KitError(
                "results/{} are of another {}. Use another --name, or delete that folder".format(
                    name, ", ".join(changed)
                )
            )
    write_json(path, machine)


class _Queue:
    """Jobs one after the other, each in a process of its own: one that crashes costs itself."""

    def __init__(self, setting: Setting, jobs: list[dict[str, Any]], asked: Any) -> None:
        self._setting, self._jobs, self._retry = setting, jobs, bool(asked.retry)
        self._end = None if asked.minutes is None else time.monotonic() + 60 * asked.minutes
        self._took: dict[str, float] = {}

    def work_off(self) -> int:
        total = len(self._jobs)
        failed = 0
        for number, job in enumerate(self._jobs, 1):
            before = self._result(job)
            if before and not (self._retry and before["status"] != "ok"):
                self._tell(number, total, job, before, "done before")
                failed += before["status"] == "failed"
                continue
            if not self._enough_time(job):
                return self._stop(total - number + 1)
            say("[{}/{}] {} ...".format(number, total, job["label"]))
            began = time.monotonic()
            if not self._do(job):
                return self._stop(total - number + 1)
            self._took[job["kind"]] = time.monotonic() - began
            result = self._result(job) or {}
            self._tell(number, total, job, result, self._left())
            failed += result.get("status") == "failed"
        self._say_what_next()
        return 1 if failed else 0

    def _do(self, job: dict[str, Any]) -> bool:
        """Whether the job has ended; False where time was up before."""
        if self._retry:
            self._path(job).unlink() if self._path(job).is_file() else None
        os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
        words = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--job", job["id"]]
        child = subprocess.Popen(words, start_new_session=True)
        try:
            status = child.wait(None if self._end is None else self._end - time.monotonic())
        except subprocess.TimeoutExpired:
            _kill(child)
            return False
        except BaseException:  # an interrupt
            _kill(child)
            raise
        if self._result(job) is None:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            write_json(
                self._path(job),
                {
                    "result": RESULT_VERSION,
                    "kit": self._setting.kit.id,
                    "job": job["id"],
                    "engine": self._setting.engine,
                    "options": self._setting.told(),
                    "status": "failed",
                    "reason": f"its process ended with {how} and wrote no result",
                },
            )
        return True

    def _path(self, job: dict[str, Any]) -> Path:
        return self._setting.results / "{}.json".format(job["id"])

    def _result(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """What the job came to; None where it is still to be done, or its files are damaged."""
        try:
            result = read_json(self._path(job))
        except KitError:
            return None
        return result if result.get("status") in ("ok", "failed", "skipped") else None

    def _enough_time(self, job: dict[str, Any]) -> bool:
        if self._end is None:
            return True
        return bool(self._end - time.monotonic() > 0.8 * self._took.get(job["kind"], 0.0))

    def _left(self) -> str:
        if self._end is None:
            return ""
        return f"{max(0.0, self._end - time.monotonic()) / 60:.1f} min left"

    def _tell(
        self, number: int, total: int, job: dict[str, Any], result: dict[str, Any], more: str
    ) -> None:
        told = [str(result.get("status"))]
        if result.get("reason"):
            told.append(str(result["reason"]))
        for key, words in (("build_s", "built in {:.1f} s"), ("batches", "{} batches read")):
            if result.get(key) is not None:
                told.append(words.format(result[key]))
        latency = result.get("latency") or {}
        times = sorted(latency.get("device_ms") or latency.get("host_ms") or [])
        if times:
            told.append("{:.3f} ms ({})".format(times[len(times) // 2], latency.get("clock")))
        told += [more] if more else []
        say("[{}/{}] {}: {}".format(number, total, job["id"], ", ".join(told)))

    def _stop(self, left: int) -> int:
        say(f"time is up; {left} of {len(self._jobs)} jobs are left. Run again to go on")
        self._say_what_next()
        return 3

    def _say_what_next(self) -> None:
        folder = self._setting.results
        say(
            f"results: {folder}\nCopy that folder into results/ of the kit where it was made, then "
            "there: int8bench merge KIT"
        )


def _kill(child: Any) -> None:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _end_with_parent() -> None:
    """Let the system end this process when run.py is killed (Linux)."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    except (AttributeError, OSError):
        return
    if os.getppid() == 1:
        sys.exit(1)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        complain("interrupted; run again to go on")
        sys.exit(130)
