"""Bad input from the command line: one line, status 2, and nothing left.

What each line says is tested where it is made: ``tests/cli/test_bad_input.py`` and below.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.results.table import read_table
from bench.sealed import to_sealed_json
from tests.e2e.command import CLASSIFIER, CUSTOM, Bench, Ended

FOLDER = [*CLASSIFIER, "model.path=FILES/two_classes.onnx", "dataset=imagefolder"]


def folder(name: str) -> list[str]:
    places = {"root": f"FILES/{name}/val", "calibration_root": f"FILES/{name}/calib"}
    return [*FOLDER, *(f"dataset.{key}={value}" for key, value in places.items())]


CASES: dict[str, tuple[list[str], str]] = {
    "option": ([*CUSTOM, "calibration.sise=3"], "mean calibration.size?"),
    "flag": ([*CUSTOM, "--multi-run"], "--hydra-help"),
    "file": (folder("nowhere"), "nowhere/val does not exist"),
    "while it calibrates": (
        [*folder("broken_calibration"), "calibration.size=6"],
        "calib/a/1.png cannot be read as an image",
    ),
    "while it evaluates": (
        folder("broken_validation"), "val/b/2.png cannot be read as an image"
    ),
    "while it quantizes": (
        [*CUSTOM, "plan.float_selectors=['op:Conv','op:Gemm']"], "keeps every layer"
    ),
}  # fmt: skip
"""Every stage at which a run can end: what is asked, and words of the line."""


@pytest.mark.parametrize(("asked", "told"), CASES.values(), ids=CASES)
def test_bad_input_is_one_line(asked: list[str], told: str, bench: Bench) -> None:
    ended = bench(*asked)
    assert ended.status == 2, ended.err
    assert told in ended.one_line
    assert bench.left_nothing


@pytest.mark.parametrize("way", [[], ["--multirun"]])
def test_a_model_s_name_leads_out_of_no_folder(
    way: list[str], bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = bench(*way, *CUSTOM, "model.name=../../evil", "sweep.out=deep/er/${model.name}")
    assert ended.status == 2
    assert "model.name='../../evil' cannot be the name of a folder" in ended.one_line
    assert not list(tmp_path.rglob("*evil*")) and not (tmp_path / "deep").exists()


def test_a_bad_value_in_a_sweep_is_told_before_anything_runs(bench: Bench) -> None:
    ended = bench("--multirun", *CUSTOM, "calibrator=minmax,kl")
    assert ended.status == 2
    assert "calibrator=kl is unknown. Use one of asymmetric_mse, auto, entropy," in ended.one_line
    assert bench.left_nothing


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.slow)])
def test_a_bad_run_ends_the_sweep_and_finished_rows_stay(launcher: str, bench: Bench) -> None:
    processes = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    chosen = [*CUSTOM, f"hydra/launcher={launcher}", *processes]
    assert bench("--multirun", *CUSTOM, "calibration.size=2,4").status == 0
    finished = {path: path.stat().st_mtime_ns for path in bench.rows}
    (bench.out / "table.csv").unlink()

    ended = bench("--multirun", *chosen, "calibration.size=2,4,7")
    assert ended.status == 2
    assert "calibration.size=7 is more than the 6 calibration images" in ended.one_line
    assert {path: path.stat().st_mtime_ns for path in bench.rows} == finished
    table = read_table(bench.out)
    assert sorted(table["calibration_size"]) == [2, 4]  # what is finished is in the table


def test_a_sweep_over_models_needs_one_folder(bench: Bench) -> None:
    ended = bench(
        "--multirun", "model=resnet18,mobilenetv2", f"sweep.out={bench.out}/${{model.name}}"
    )
    assert "a sweep over model needs one folder" in ended.one_line
    assert "sweep.out=FOLDER" in ended.one_line


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "file").write_text("")
    ended = bench(*CUSTOM, f"sweep.out={tmp_path}/file/out")
    assert ended.status == 2
    assert f"{tmp_path}/file" in ended.one_line
    assert "sweep.out" in ended.one_line


def test_a_row_of_another_version_is_one_line(bench: Bench) -> None:
    assert bench(*CUSTOM).status == 0
    (row,) = bench.rows
    row.write_bytes(to_sealed_json({"row": {"run_key": row.stem, "schema_version": 99}}))
    ended = bench(*CUSTOM)
    assert ended.status == 2
    assert f"{row} is not a row of this version" in ended.one_line


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["calibration.sise=3"], "Did you mean calibration.size?"),
        pytest.param(
            ["--multirun", "calibration.size=4,7", "hydra/launcher=joblib"],
            "calibration.size=7",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["composition", "worker"],
)
def test_the_same_from_a_shell(asked: list[str], told: str, bench: Bench) -> None:
    process = bench.start(*CUSTOM, *asked, report=True)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 2, err
    assert told in Ended(2, out, err).one_line
