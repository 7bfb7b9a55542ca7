"""``int8bench doctor``: what works on this machine, what is missing, and how to fix it."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import environment
from bench.cache import write_atomically
from bench.doctor.check import Check, Finding, Outcome, Status

MODULES = (
    "bench.doctor.host", "bench.doctor.engines", "bench.doctor.gpu", "bench.doctor.trt",
    "bench.doctor.native_ranges",
)  # fmt: skip
"""Each has its ``CHECKS``. Imported one by one: a missing package must not hide the others."""

STYLES: dict[Status, str] = {"pass": "green", "absent": "yellow", "fail": "bold red"}
SCHEMA = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1: a check failed (absent is not a failure); 2: the JSON could not be written."""
    options = _parser().parse_args(argv)
    outcomes = [check.run() for name in MODULES for check in find_checks(name)]
    console = Console()
    console.print(make_table(outcomes))
    counts = Counter(outcome.status for outcome in outcomes)
    console.print(", ".join(f"{counts[status]} {status}" for status in STYLES))
    if options.json:
        try:
            write_atomically(options.json, to_json(outcomes).encode())
        except OSError as error:
            print(f"error: {options.json}: {error.strerror}. Check the path", file=sys.stderr)
            return 2
    return int(counts["fail"] > 0)


def find_checks(name: str) -> tuple[Check, ...]:
    """The checks of a module, or one check that says why it cannot be imported."""
    try:
        checks: tuple[Check, ...] = importlib.import_module(name).CHECKS
        return checks
    except ImportError as error:
        finding = Finding("fail", f"not checked ({error})", "pip install -e .")
        return (Check(name.rpartition(".")[2], lambda: finding),)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "int8bench doctor", description="Check this machine, and show how to fix what is missing."
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the findings to FILE, to send them"
    )
    return parser


def make_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table("check", "", "result", "fix", box=box.SIMPLE_HEAD)
    for outcome in outcomes:
        table.add_row(
            outcome.check,
            Text(outcome.status, STYLES[outcome.status]),
            Text(outcome.found),
            Text(outcome.mend),
        )
    return table


def to_json(outcomes: Sequence[Outcome]) -> str:
    content = {
        "doctor": SCHEMA,
        "hardware": environment.hardware(),
        "environment": environment.software(),
        "git_commit": environment.git_commit(),
        "checks": [asdict(outcome) for outcome in outcomes],
    }
    return json.dumps(content, indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(main())
