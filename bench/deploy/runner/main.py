"""Measure this kit on this machine: ``python run.py``; see README.md beside it.

It needs Python 3.8 or newer, NumPy and TensorRT (8.5 to 11; CUDA through cuda-python, or straight
from libcudart), or with --engine onnxruntime ONNX Runtime, and nothing else. What is worth most
comes first; every result is written at once; started again it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import platform
import re
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
from bench.deploy.runner.work_off import Queue, end_with_parent, in_child

SAME = ("kit", "engine", "version", "options", "gpu", "driver_cuda")
"""What results of one name have in common."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: all is measured; 1: a job failed; 2: it cannot start; 3: time was up."""
    asked = _parser().parse_args(argv)
    asked.began = time.monotonic()
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
    add("--examine", action="store_true", help=argparse.SUPPRESS)  # likewise
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
        end_with_parent()
        run_job(setting, next(job for job in jobs if job["id"] == asked.job))
        return 0
    if not jobs:
        raise KitError(f"no job is called {asked.jobs}. --list names them")
    if asked.list:
        for job in jobs:
            say("{:28} {}".format(job["id"], job["label"]))
        return 0
    if asked.examine:
        return _examine(setting)
    if in_child(["--examine"]) != 0:
        return 2
    if asked.doctor:
        return 0
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KitError(f"another run.py measures as {name} already. Wait for it") from None
        _keep_machine(setting, name)
        return Queue(setting, jobs, asked).work_off()


def _examine(setting: Setting) -> int:
    """Say what this machine has, and keep the facts; in a process of its own, as it starts CUDA."""
    end_with_parent()
    facts, wrong = examine(setting.kit, setting.engine, setting.kit.folder)
    if not wrong:
        write_json(setting.work / "examined.json", facts)
    return 2 if wrong else 0


def _keep_machine(setting: Setting, name: str) -> None:
    """Write machine.json; KitError where results of this name are of another machine or set-up."""
    facts = read_json(setting.work / "examined.json")
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


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        complain("interrupted; run again to go on")
        sys.exit(130)
