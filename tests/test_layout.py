"""CONTRIBUTING draws the layout that import-linter checks; the environment is read at the door."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]


def test_contributing_draws_the_floors_that_lint_checks() -> None:
    settings: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [contract] = [c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    drawn = (ROOT / "CONTRIBUTING.md").read_text().split("```")[1].strip().splitlines()
    floors = [re.split(r"  +", line)[0].strip() for line in drawn]
    assert floors == contract["layers"]
    packages = {path.parent.name for path in (ROOT / "bench").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "bench").glob("*.py")} - {"__init__"}
    assert packages | modules == {name for floor in floors for name in floor.split(" | ")}


def test_environment_variables_are_read_at_the_door() -> None:
    readers = {
        str(path.relative_to(ROOT / "bench"))
        for path in (ROOT / "bench").rglob("*.py")
        if re.search(r"os\.(environ|getenv)", path.read_text())
    }
    below = {name for name in readers if not name.startswith(("cli/", "doctor/", "deploy/"))}
    assert below == {"environment.py"}  # what the machine is: limits of its instructions
