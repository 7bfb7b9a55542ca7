"""The runner as the one file that a target gets."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.deploy.kit.runner_text import MODULES, runner_source
from bench.deploy.runner import __name__ as package

LISTS = Path(__file__).parents[1] / "engine" / "tensorrt_api"
RUNNER = Path(__file__).parents[2] / "bench" / "deploy" / "runner"
STANDARD = {"numpy", *sys.stdlib_module_names}


@pytest.fixture(scope="module")
def source() -> str:
    return runner_source()


def test_it_holds_every_module(source: str) -> None:
    assert {path.stem for path in RUNNER.glob("*.py")} == {*MODULES, "__init__"}
    assert package not in source


def test_python_3_8_can_read_it(source: str) -> None:
    tree = ast.parse(source, feature_version=(3, 8))
    for node in ast.walk(tree):  # what the grammar has, but no library of that age
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("removeprefix", "removesuffix", "bit_count")
            assert not {"strict"} & {word.arg for word in node.keywords}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert not {"strict", "slots", "kw_only"} & {word.arg for word in node.keywords}


def test_it_imports_numpy_and_the_standard_library_alone(source: str) -> None:
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= STANDARD


def test_no_name_is_defined_twice(source: str) -> None:
    """Its modules have one namespace there."""
    defined = [
        name
        for node in ast.parse(source).body
        for name in (
            [node.name]
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            else [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.Assign)
            else []
        )
    ]
    assert [name for name, count in Counter(defined).items() if count > 1] == []


def test_no_module_uses_what_comes_behind_it() -> None:
    for number, name in enumerate(MODULES):
        text = (RUNNER / f"{name}.py").read_text()
        used = re.findall(rf"from {re.escape(package)}\.(\w+) import", text)
        assert set(used) <= set(MODULES[:number]), name


def test_it_says_what_it_is_for(source: str, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(source)
    words = [sys.executable, "-I", str(tmp_path / "run.py"), "--help"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "Measure this kit on this machine" in ended.stdout


def test_without_a_kit_it_is_one_line(source: str, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(source)
    words = [sys.executable, "-I", str(tmp_path / "run.py")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


GATED = {
    "BuilderFlag.INT8", "BuilderFlag.FP16", "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "IInt8MinMaxCalibrator", "IInt8EntropyCalibrator", "IInt8EntropyCalibrator2",
    "IInt8LegacyCalibrator",
}  # fmt: skip
"""Asked for with ``getattr``, or behind a version."""


@pytest.mark.parametrize("version", ["8.5.1.7", "8.6.0", "10.16.1.11", "11.4.0.106"])
def test_every_version_of_tensorrt_has_the_names_that_it_uses(source: str, version: str) -> None:
    known = set(
        re.findall(
            r"^(?:class |static )?([\w.]+)", (LISTS / f"{version}.txt").read_text(), re.MULTILINE
        )
    )
    used = set(re.findall(r"\btrt\.([A-Z]\w+(?:\.[A-Z]\w+)?)", source)) - GATED
    assert used
    missing = {name for name in used if name not in known and name.partition(".")[0] not in known}
    assert missing == set()
    members = {name for name in used if "." in name and name not in known}
    assert members <= {"ILogger.ERROR", "ILogger.INTERNAL_ERROR", "ILogger.WARNING"}
