"""A kit's commands, here and on its target."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.results.row import Row
from bench.results.store import RowStore

FAKES = Path(__file__).parents[1] / "fakes"
QUICK = ["--seconds", "0.02"]


@dataclass(frozen=True)
class Said:
    """What the command line left: its exit status, and what it printed."""

    status: int
    out: str
    err: str


def said_by(main: Callable[..., int], *words: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return Said(status, out.getvalue(), err.getvalue())


def run_there(kit: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """run.py as on a target: from elsewhere, in a process that knows nothing of this checkout."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, str(kit / "run.py"), *words],
        cwd=kit.parent,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def on_stand_in(version: str) -> dict[str, str]:
    return {"PYTHONPATH": str(FAKES), "FAKE_TENSORRT": version}


def of_target(sweep: Path) -> dict[str, Row]:
    rows = [row for row in RowStore(sweep).rows() if row.measured_on]
    return {row.source_key: row for row in rows}


def facts(kit: Path) -> str:
    return (kit / "kit.json").read_text()


def keys_of(kit: Path) -> list[str]:
    return sorted(json.loads(facts(kit))["rows"])
