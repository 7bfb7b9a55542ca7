"""scripts/record_tensorrt.sh: every run that it asks for can be made."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.cli.compose import build_typed
from tests.e2e.command import ROOT

SCRIPT = ROOT / "scripts" / "record_tensorrt.sh"
PYTHON = """#!/bin/sh
case "$*" in
    *tensorrt.__version__*) echo 8.5.1.7 ;;
    "-m bench --multirun "*) echo "$@" >>"$ASKED" ;;
    "-m bench.doctor "*) exit 1 ;;
    *) exit 9 ;;
esac
"""


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., list[str]]:
    """``asked(part)``: the sweeps that it asks a Python for which makes none of them, and whose
    doctor finds something wrong; without a part those of all, until there is no table to keep."""

    def ask(*part: str) -> list[str]:
        python, log = tmp_path / "python", tmp_path / "asked"
        python.write_text(PYTHON)
        python.chmod(0o755)
        given = {"PYTHON": str(python), "ASKED": str(log), "RECORD": str(tmp_path / "record"),
                 "REFERENCE": str(tmp_path / "reference")}  # fmt: skip
        ended = subprocess.run(
            [SCRIPT, *part],
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode != 0  # there is no table to keep
        return log.read_text().splitlines()

    return ask


@pytest.mark.parametrize("model", ["yolov8n", "mobilenetv2"])
def test_every_run_of_the_record_can_be_made(
    model: str, asked: Callable[..., list[str]], fake_tensorrt: Callable[..., Any]
) -> None:
    fake_tensorrt("8.5.1.7")
    found: set[tuple[Any, ...]] = set()
    batch_sizes: set[int | None] = set()
    for line in asked(model):
        overrides = OverridesParser.create().parse_overrides(shlex.split(line)[3:])
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
        for typed in jobs:
            run = build_typed(typed)
            run.check()
            assert (run.model.name, run.calibration.size) == (model, 128)
            mode = run.engine.mode  # type: ignore[union-attr]
            how = (mode, run.calibrator.name, run.plan.name, run.calibration.preprocess)
            found.add(how)
            if mode == "implicit" and hasattr(run.calibrator, "batch_size"):
                batch_sizes.add(run.calibrator.batch_size)
    assert batch_sizes == {8}  # native and own entropy calibrators begin with the same range
    rules = {"tensorrt_minmax", "tensorrt_entropy2", "minmax", "entropy2", "percentile", "mse"}
    plans = {"all", "float_first", "float_head", "float_first_and_head"}
    fits = {"same", "stretch"} if model == "yolov8n" else {"same"}
    assert found >= {("implicit", r, p, f) for r in rules for p in plans for f in fits}
    assert found >= {("explicit", r, p, "same") for r in rules for p in ("all", "float_head")
                     if not r.startswith("tensorrt_")}  # fmt: skip
    assert found >= {("implicit", r, "all", "same") for r in ("tensorrt_entropy", "entropy")}


def test_a_doctor_that_finds_something_wrong_does_not_stop_it(
    asked: Callable[..., list[str]],
) -> None:
    assert all("model=yolov8n" in line for line in asked())


def test_an_unknown_part_and_a_python_without_tensorrt_are_told(tmp_path: Path) -> None:
    for python, told in (("true", "nothing is no part"), ("false", "cannot import tensorrt")):
        ended = subprocess.run(
            [SCRIPT, "nothing"], env={**os.environ, "PYTHON": python, "REFERENCE": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert told in line
    assert not list(tmp_path.iterdir())
