"""One verdict on both kinds of processor: with int8 kernels that saturate, and with any."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import ROOT, Bench

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's limit is one of x86"
    ),
]

ASKED = [
    "model=yolov8n", "dataset.validation_images=32", "dataset.calibration_images=8",
    "calibrator=minmax", "calibration.size=8", "plan=all",
]  # fmt: skip


def for_avx2(bench: Bench, *overrides: str) -> tuple[dict[str, Any], str]:
    """The row of a process whose oneDNN takes AVX2's kernels, and what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "bench", *bench.arguments(*ASKED, *overrides)],
        cwd=ROOT,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (path,) = bench.rows
    return json.loads(path.read_text())["row"], ended.stdout


@pytest.mark.slow
def test_accuracy_is_the_file_s_whatever_the_processor(bench: Bench, tmp_path: Path) -> None:
    row, printed = for_avx2(bench)
    assert (row["status"], row["accuracy_by"]) == ("ok", "exact emulation")
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in row["hardware"]
    assert row["exact_sqnr_db"] > row["exact_sqnr_limit_db"]
    assert row["kernels_int8"] < row["int8"] - 0.1  # what the kernels would have published
    assert row["kernels_ci_high"] < 0
    assert row["int8_mac_share"] > 0.9  # latency and layers are the kernels'
    assert "int8 kernels of openvino are not exact on this processor" in " ".join(printed.split())
    page = (bench.out / "report.html").read_text()
    assert "of the int8 kernels here" in page

    other = Bench(tmp_path / "here", bench.cache)
    assert other(*ASKED).status == 0
    (here,) = (own for _, own in other.table.iterrows())
    assert here["fp32"] == pytest.approx(row["fp32"], abs=0.002)
    assert here["int8"] == pytest.approx(row["int8"], abs=0.012)  # rounding, on 32 images


@pytest.mark.slow
def test_kernels_that_saturate_are_unfaithful_where_they_were_asked_for(bench: Bench) -> None:
    row, printed = for_avx2(bench, "engine.accuracy_by=kernels")
    assert (row["status"], row["accuracy_by"]) == ("unfaithful", "int8 kernels")
    assert row["exact_sqnr_db"] < row["exact_sqnr_limit_db"]
    assert "Add engine.accuracy_by=emulation" in row["error"]
    said = " ".join(printed.split())
    assert "no run is recommended, as none computes its Q/DQ file correctly" in said
    assert "does not compute the Q/DQ file in 1 run" in said
    verdicts = json.loads((bench.out / "claims.json").read_text())
    assert not any(verdict["rows"] for verdict in verdicts)
    assert "✗" in (bench.out / "report.html").read_text()
