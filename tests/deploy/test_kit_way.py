"""The whole way: a kit of a small sweep, its runner in another process, and the merge."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.deploy.kit.__main__ import main as kit_main
from bench.deploy.merge.__main__ import main as merge_main
from bench.results.row import Row
from bench.results.table import read_table
from tests.deploy.kit_commands import QUICK, facts, keys_of, of_target, run_there, said_by
from tests.deploy.refusal import refused

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def trial(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit after a run in ONNX Runtime."""
    kit = Path(shutil.copytree(packed, tmp_path_factory.mktemp("trial") / "kit"))
    ended = run_there(kit, "--engine", "onnxruntime", "--name", "trial", *QUICK)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return kit


@pytest.fixture
def merge_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are stored; table, claims and report are left out, which cost more than all else."""
    monkeypatch.setattr("bench.deploy.merge.__main__._conclude", lambda sweep: None)


@pytest.fixture
def back(trial: Path, sweep: Path, tmp_path: Path) -> tuple[Path, Path]:
    """That kit and its sweep, both of one's own."""
    own = Path(shutil.copytree(trial, tmp_path / "kit"))
    return own, Path(shutil.copytree(sweep, tmp_path / "sweep"))


def test_what_a_cpu_measures_is_what_was_foretold(
    back: tuple[Path, Path], rows: dict[str, Row]
) -> None:
    kit, sweep = back
    said = said_by(merge_main, kit, "--sweep", sweep)

    assert said.status == 0, said.err
    merged = of_target(sweep)
    assert set(merged) == {row.run_key for row in rows.values()}
    for source in rows.values():
        row = merged[source.run_key]
        assert (row.measured_on, row.engine, row.status) == ("trial", "onnxruntime", "ok")
        assert row.int8 == row.predicted_int8 == source.int8
        assert (row.fp32, row.engine_fp32) == (source.fp32, source.fp32)
        assert (row.plan, row.calibrator) == (source.plan, source.calibrator)
        assert row.int8_latency_p50_ms and row.speedup
    table = read_table(sweep)
    assert list(table["measured_on"].fillna("")).count("trial") == 2
    page = (sweep / "report.html").read_text()
    assert "How well this machine foretells the target" in page
    assert "onnxruntime on trial" in page
    assert "INT8 there differs by 0.0000 Top-1" in page

    again = said_by(merge_main, kit, "--sweep", sweep)
    assert again.status == 0
    assert of_target(sweep) == merged


def test_nothing_is_done_twice(trial: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (trial / "results/trial").iterdir()}
    ended = run_there(trial, "--engine", "onnxruntime", "--name", "trial", *QUICK)
    assert ended.returncode == 0
    assert ended.stdout.count("done before") == len(json.loads(facts(trial))["jobs"])
    after = {path: path.stat().st_mtime_ns for path in (trial / "results/trial").iterdir()}
    assert {p: t for p, t in after.items() if p.name != "machine.json"} == {
        p: t for p, t in before.items() if p.name != "machine.json"
    }


def test_killed_it_goes_on(kit: Path) -> None:
    words = [sys.executable, str(kit / "run.py"), "--engine", "onnxruntime", "--name", "trial"]
    child = subprocess.Popen([*words, "--seconds", "0.5"], stdout=subprocess.PIPE, text=True)
    results = kit / "results" / "trial"
    end = time.monotonic() + 60
    while not list(results.glob("int8-*.npz")):
        assert time.monotonic() < end
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    done = {path.name for path in results.glob("*.json")}

    ended = run_there(kit, *words[2:], *QUICK)

    assert ended.returncode == 0
    assert len(done) < len(list(results.glob("*.json"))) == len(json.loads(facts(kit))["jobs"]) + 1
    assert not list(results.glob(".*.tmp"))


def test_time_is_up(kit: Path) -> None:
    ended = run_there(
        kit, "--engine", "onnxruntime", "--name", "trial", "--minutes", "0.0001", *QUICK
    )
    assert ended.returncode == 3
    assert "time is up" in ended.stdout
    assert "Run again to go on" in ended.stdout


@pytest.mark.slow
def test_a_damaged_kit_is_told_before_anything_is_done(kit: Path) -> None:
    (values,) = [p for p in (kit / "rows").glob("*.values") if p.stem == keys_of(kit)[0]]
    ended = run_there(kit, "--engine", "onnxruntime", "--name", "trial", "--doctor")
    assert ended.returncode == 0
    values.write_bytes(b"x")
    ended = run_there(kit, "--engine", "onnxruntime", "--name", "trial", *QUICK)
    assert ended.returncode == 2  # the doctor sees it
    assert f"{values.name} is not the file that was packed" in ended.stdout


def test_results_of_one_name_are_of_one_set_up(trial: Path) -> None:
    ended = run_there(trial, "--engine", "onnxruntime", "--name", "trial", "--half", *QUICK)
    assert ended.returncode == 2
    assert "are of another options" in ended.stderr


# --- what comes back ------------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        path.write_bytes(bytes([content[0] ^ 255]) + content[1:])
    elif how == "linked":
        path.unlink()
        path.symlink_to("/etc/passwd")
    elif how == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.usefixtures("merge_only")
@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "linked", "folder"])
@pytest.mark.parametrize("kind", ["json", "npz"])
def test_a_damaged_job_is_left_out_in_one_line(
    back: tuple[Path, Path], rows: dict[str, Row], how: str, kind: str
) -> None:
    kit, sweep = back
    first, second = (rows[plan].run_key for plan in ("all", "float_first"))
    damage(kit / "results" / "trial" / f"int8-{first}.{kind}", how)

    said = said_by(merge_main, kit, "--sweep", sweep)

    assert said.status == 1
    warnings = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1 and f"int8-{first}.{kind}" in warnings[0]
    assert set(of_target(sweep)) == {second}


CHANGES: dict[str, dict[str, Any]] = {
    "a text for a number": {"build_s": "fast"},
    "no number": {"build_s": float("nan")},
    "below zero": {"build_s": -1.0},
    "another kit": {"kit": "0" * 20},
    "another job": {"job": "../../etc/passwd"},
    "an unknown status": {"status": "perfect"},
    "lines in a text": {"reason": "one\ntwo"},
    "another engine": {"engine": "tensorrt"},
    "latencies that are none": {"latency": {"host_ms": [1.0, "x"]}},
    "a list": {"options": []},
}


@pytest.mark.usefixtures("merge_only")
@pytest.mark.parametrize("what", CHANGES)
def test_a_result_that_says_something_else_is_left_out(
    back: tuple[Path, Path], rows: dict[str, Row], what: str
) -> None:
    kit, sweep = back
    path = kit / "results" / "trial" / f"int8-{rows['all'].run_key}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | CHANGES[what]))

    said = said_by(merge_main, kit, "--sweep", sweep)

    assert said.status == 1
    assert said.err.count("warning: ") == 1
    assert set(of_target(sweep)) == {rows["float_first"].run_key}


@pytest.mark.usefixtures("merge_only")
def test_predictions_are_never_unpickled(back: tuple[Path, Path], rows: dict[str, Row]) -> None:
    kit, sweep = back
    path = kit / "results" / "trial" / f"int8-{rows['all'].run_key}.npz"
    np.savez(path, **{"0.whole": np.array([{"a": 1}], object)})
    result = path.with_suffix(".json")
    summed = {"predictions_sha256": sha256(path.read_bytes()).hexdigest()}
    result.write_text(json.dumps(json.loads(result.read_text()) | summed))

    said = said_by(merge_main, kit, "--sweep", sweep)

    assert said.status == 1
    assert "is not what a target writes" in said.err
    assert set(of_target(sweep)) == {rows["float_first"].run_key}


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["is damaged"], {"result": 2}),
        (["of another kit"], {"kit": "x"}),
        (["is of ghost", "Call its folder ghost"], {"name": "ghost"}),
        (["is damaged", "name"], {"name": "../ghost"}),
    ],
)
def test_a_damaged_machine_is_one_line(
    back: tuple[Path, Path], words: list[str], change: dict[str, Any]
) -> None:
    kit, sweep = back
    path = kit / "results" / "trial" / "machine.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(said_by(merge_main, kit, "--sweep", sweep), "machine.json", *words)


def test_a_kit_of_another_sweep_is_refused(back: tuple[Path, Path], tmp_path: Path) -> None:
    kit, _ = back
    refused(said_by(merge_main, kit, "--sweep", tmp_path), "does not know this kit", "--sweep")
    (kit / "kit.json").write_text("{")
    refused(said_by(merge_main, kit), "kit.json cannot be read")


def test_a_kit_without_results_is_refused(packed: Path) -> None:
    refused(said_by(merge_main, packed), "has no results of this kit", "Copy results/NAME")


# --- what cannot be packed ------------------------------------------------------------------------


def test_bad_words_are_one_line(sweep: Path, packed: Path, tmp_path: Path) -> None:
    to = tmp_path / "new"
    refused(said_by(kit_main, sweep, "--to", packed), "exists already")
    refused(said_by(kit_main, sweep, "--to", to, "--run", "nothing"), "has no run nothing")
    refused(said_by(kit_main, sweep, "--to", to, "--native", "best"), "not a calibrator")
    refused(said_by(kit_main, sweep, "--to", to, "--model", "x"), "no measured runs")
    refused(said_by(kit_main, tmp_path, "--to", to), "no measured runs")
    assert not to.exists()


def test_calibration_images_stay_here_without_native_calibrators(
    sweep: Path, tmp_path: Path, rows: dict[str, Row]
) -> None:
    key = rows["all"].run_key
    said = said_by(kit_main, sweep, "--to", tmp_path / "kit", "--native", "none", "--run", key)
    assert said.status == 0, said.err
    packed = json.loads(facts(tmp_path / "kit"))
    assert list(packed["images"]) == ["evaluation"]
    assert [job["id"] for job in packed["jobs"]] == [f"int8-{key}", "fp32", "fp16"]
