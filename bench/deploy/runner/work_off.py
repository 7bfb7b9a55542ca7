"""Jobs one after the other, each in a process of its own, until all are done or time is up."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Sequence

from bench.deploy.runner.ground import RESULT_VERSION, KitError, read_json, say, write_json
from bench.deploy.runner.jobs import Setting


class Queue:
    """Jobs one after the other, each in a process of its own: one that crashes costs itself."""

    def __init__(self, setting: Setting, jobs: list[dict[str, Any]], asked: Any) -> None:
        self._setting, self._jobs, self._retry = setting, jobs, bool(asked.retry)
        self._end = None if asked.minutes is None else asked.began + 60 * asked.minutes
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
        left = None if self._end is None else self._end - time.monotonic()
        status = in_child(["--job", job["id"]], left)
        if status is None:
            return False
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


def in_child(words: Sequence[str], seconds: float | None = None) -> int | None:
    """Run this file again with these words besides; its exit status, or None if time was up.

    What the child holds of a GPU goes back with it, whatever becomes of it.
    """
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], *words]
    child = subprocess.Popen(command, start_new_session=True)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(child)
        return None
    except BaseException:  # an interrupt
        _kill(child)
        raise


def _kill(child: Any) -> None:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def end_with_parent() -> None:
    """Let the system end this process when run.py is killed (Linux)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    except (AttributeError, OSError):
        return
    if os.getppid() == 1:
        sys.exit(1)
