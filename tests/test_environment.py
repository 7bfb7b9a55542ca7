"""Provenance: one line each, and nothing said where nothing is known."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench import environment


def test_hardware_is_one_line():
    line = environment.hardware()
    assert re.fullmatch(r"[^\n]+ \([^\n]+\), \d+ cores, \d+ GiB", line)
    assert environment.hardware() == line


def test_software_names_versions():
    line = environment.software()
    assert "\n" not in line
    parts = line.split(", ")
    assert f"Python {platform.python_version()}" in parts
    assert f"numpy {np.__version__}" in parts
    assert f"onnx {onnx.__version__}" in parts


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(environment, "_PACKAGES", ("numpy", "no-such-package-at-all"))
    line = environment.software()
    assert line.endswith(f"numpy {np.__version__}")


def test_versions_of_imported_libraries():
    assert environment.versions("numpy", "onnx") == (
        f"numpy {np.__version__}, onnx {onnx.__version__}"
    )


@pytest.fixture
def arithmetic(monkeypatch) -> Callable[[str], str]:
    """``arithmetic(cpuinfo)``: what is told of a processor that says this of itself."""

    def told(cpuinfo: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(platform, "machine", lambda: "machine")
            patch.setattr(Path, "read_text", lambda path: cpuinfo)
            return environment.arithmetic()

    for name in [own for own in os.environ if own.startswith(("ONEDNN_", "DNNL_"))]:
        monkeypatch.delenv(name)
    return told


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu sse2 avx fma avx2\n", "machine avx fma avx2"),
        (
            "flags : avx2 avx512_vnni avx512f amx_tile\n",
            "machine avx2 avx512f avx512_vnni amx_tile",
        ),
        ("Features\t: fp asimd asimddp i8mm\n", "machine asimd asimddp i8mm"),
        ("processor : 0\n", "machine"),
    ],
)
def test_arithmetic_is_what_float_kernels_are_chosen_by(cpuinfo, expected, arithmetic):
    assert arithmetic(cpuinfo) == expected


@pytest.mark.parametrize(
    "limit", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"]
)
def test_what_limits_the_kernels_is_part_of_the_arithmetic(limit, arithmetic, monkeypatch):
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")
    assert arithmetic("flags: avx2") == "machine avx2"
    monkeypatch.setenv(limit, "AVX2")
    assert arithmetic("flags: avx2") == f"machine avx2 {limit}=AVX2"


def test_where_the_processor_tells_nothing(monkeypatch):
    def absent(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", absent)
    assert environment.arithmetic().split()[0] == platform.machine()
    assert environment.int8_instructions() == ()


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A repository of which ``environment`` believes that it lies in it."""
    monkeypatch.setattr(environment, "PACKAGE", tmp_path / "bench")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "code.py").write_text("one = 1\n")
    return tmp_path


def test_git_commit_and_whether_the_tree_was_changed(checkout):
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "first")
    clean = environment.git_commit()
    assert re.fullmatch(r"[0-9a-f]{12}", clean)
    (checkout / "untracked.txt").write_text("results of a run\n")
    assert environment.git_commit() == clean
    (checkout / "bench" / "code.py").write_text("one = 2\n")
    assert environment.git_commit() == clean + "+"


def test_outside_a_checkout_nothing_is_said(checkout, monkeypatch):
    """An installed package may lie in somebody's repository, whose commit is not ours."""
    git(checkout.parent, "init", "-q")
    git(checkout.parent, "commit", "-q", "--allow-empty", "-m", "theirs")
    assert environment.git_commit() == ""


def test_without_git_nothing_is_said(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert environment.git_commit() == ""
