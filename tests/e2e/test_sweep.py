"""Whole sweeps on the embedded default: rows, table, report; done once, resumed, shared."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.results.histograms import HistogramStore
from bench.results.row import COLUMNS
from bench.results.table import read_table
from tests.e2e.command import CUSTOM, Bench, wait_for

pytestmark = pytest.mark.e2e

CLASSIFIER = ["model=resnet18", "dataset.validation_images=32", "dataset.calibration_images=8"]
DETECTOR = ["model=yolov8n", "dataset.validation_images=12", "dataset.calibration_images=8"]
AXES = ["calibrator=minmax,entropy2", "calibration.size=4,8", "plan=all,float_first"]
FEW = ["calibrator=minmax", "calibration.size=4,8", "plan=all,float_first"]
TINY = [*CUSTOM, "dataset.calibration_images=8"]
FACTS = ["fp32", "int8", "delta", "ci_low", "ci_high", "sqnr_db", "input_amax", "planned_mac_share"]
"""What a run finds out, but for the clock and the memory."""

PROMISED = [
    "model", "dataset", "calibrator", "calibrator_params", "calibration_size", "calibration_seed",
    "plan", "placement", "engine", "engine_version", "metric", "fp32", "int8", "delta", "ci_low",
    "ci_high", "n_images", "int8_latency_p50_ms", "fp32_latency_p50_ms", "baseline_latency_p50_ms",
    "speedup", "int8_mac_share", "sqnr_db", "collect_s", "threshold_s", "build_s", "qdq_bytes",
    "peak_memory_mb", "status", "error", "run_key",
]  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Eight runs of a classifier, in one process, with a cache of their own."""
    folder = tmp_path_factory.mktemp("swept")
    bench = Bench(folder / "out", folder / "cache")
    ended = bench("--multirun", *CLASSIFIER, *AXES, report=True)
    assert ended.status == 0, ended.err
    assert "resnet18: weights carried for shapes (resnet18_shapes.onnx)" in ended.err
    assert str(bench.out / "report.html") in ended.out.replace("\n", "")
    return bench


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A detector with each rule for its input's range."""
    folder = tmp_path_factory.mktemp("detected")
    bench = Bench(folder / "out", folder / "cache")
    ended = bench(
        "--multirun", *DETECTOR, "calibrator=entropy2", "plan=float_head",
        "input_range=calibrated,declared",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert len(list((folder / "cache").glob("statistics-*-4.npz"))) == 1
    return bench.table


def times(folder: Path, pattern: str = "**/*") -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob(pattern) if path.is_file()}


def same_facts(found: Bench, expected: pd.DataFrame, runs: int) -> None:
    """The rows found are among those expected, and there are as many as runs."""
    assert len(found.rows) == runs
    table = found.table
    pd.testing.assert_frame_equal(table[FACTS], expected.loc[table.index, FACTS], rtol=1e-6)


def test_a_sweep_leaves_rows_tables_and_a_report(swept: Bench) -> None:
    assert len(swept.rows) == 8
    csv, parquet = read_table(swept.out), pd.read_parquet(swept.out / "table.parquet")
    for table in (csv, parquet):
        assert list(table.columns) == list(COLUMNS)
        assert set(table["run_key"]) == {path.stem for path in swept.rows}
    assert not set(PROMISED) - set(COLUMNS)
    page = (swept.out / "report.html").read_text()
    assert "resnet18" in page
    assert "entropy2" in page
    raw = json.loads(swept.rows[0].read_text())["raw"]
    assert {len(times) for times in raw.values()} == {3}


@pytest.mark.parametrize("fixture", ["swept", "detected"])
def test_rows_are_finite_and_agree_with_themselves(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(fixture)
    table: pd.DataFrame = found.table if isinstance(found, Bench) else found
    assert (table["status"] == "ok").all()
    assert (table["error"] == "").all()
    numbers = table.select_dtypes("number")
    of_kernels = [name for name in map(str, table) if name.startswith("kernels_")]
    numbers = numbers.drop(columns=of_kernels, errors="ignore")  # empty where there are none
    assert np.isfinite(numbers.drop(columns="input_amax")).all().all()
    emulated = table["accuracy_by"] == "exact emulation"  # where the processor's kernels saturate
    assert (table[of_kernels].notna().all(axis=1) == emulated).all()
    assert (emulated | (table["accuracy_by"] == "int8 kernels")).all()
    assert (numbers["input_amax"].isna() == (table["plan"] == "float_first")).all()
    np.testing.assert_allclose(table["delta"], table["int8"] - table["fp32"], atol=1e-12)
    assert (table["ci_low"] <= table["delta"]).all()
    assert (table["delta"] <= table["ci_high"]).all()
    for name in ("fp32", "int8", "secondary_fp32", "secondary_int8"):
        assert table[name].between(0, 1).all()
    assert (table["secondary_fp32"] >= table["fp32"]).all()
    medians = {kind: table[f"{kind}_latency_p50_ms"] for kind in ("int8", "fp32", "baseline")}
    np.testing.assert_allclose(table["speedup"], medians["fp32"] / medians["int8"])
    np.testing.assert_allclose(table["speedup_baseline"], medians["baseline"] / medians["int8"])
    for kind in medians:  # of three rounds there is no such percentile
        assert table[[f"{kind}_latency_p90_ms", f"{kind}_latency_p99_ms"]].isna().all(axis=None)
    assert (table["exact_sqnr_db"] > table["exact_sqnr_limit_db"]).all()
    assert (table["exact_sqnr_limit_db"] > 15).all()  # what had a wrong zero point agreed by 8
    assert (table["sqnr_db"] > 0).all()
    assert table["fp32"].nunique() == 1


def test_the_share_of_int8_follows_the_plan(swept: Bench) -> None:
    table = swept.table
    assert table["int8_mac_share"].between(0, 1).all()
    whole, part = (table[table["plan"] == plan] for plan in ("all", "float_first"))
    assert (whole["int8_mac_share"] > 0.9).all()
    assert part["int8_mac_share"].max() < whole["int8_mac_share"].min()
    assert (whole["latency_note"] == "").all()
    np.testing.assert_allclose(table["int8_mac_share"], table["planned_mac_share"], atol=0.05)


def test_one_pass_over_the_images_serves_all_sizes_and_calibrators(swept: Bench) -> None:
    sizes = sorted(path.stem.rsplit("-", 1)[1] for path in swept.cache.glob("statistics-*.npz"))
    assert sizes == ["4", "8"]
    assert len(list(swept.cache.glob("fp32-*.npz"))) == 1
    seconds = swept.table.groupby("calibration_size")["collect_s"]
    assert (seconds.nunique() == 1).all()
    assert seconds.first()[4] < seconds.first()[8]


def test_what_explains_the_rows_is_kept_beside_them(swept: Bench) -> None:
    store, table = HistogramStore(swept.out), swept.table
    per_size = table.groupby("calibration_size")["statistics_key"]
    assert (per_size.nunique() == 1).all()
    kept = {path.stem for path in (swept.out / "histograms").iterdir()}
    assert kept == set(per_size.first())
    assert len(kept) == 2
    assert set(table.index) == {path.stem for path in (swept.out / "ranges").iterdir()}
    for key, row in table.iterrows():
        seen, ranges = store.histograms(row["statistics_key"]), store.ranges(key)
        assert set(ranges) <= set(seen)
        first, *_ = seen  # the network's input
        assert ranges.get(first) == (row["input_amax"] if row["plan"] == "all" else None)
        assert all(one.counts.sum() == one.count for one in seen.values())
        if row["calibrator"] == "minmax":
            assert all(ranges[name] == pytest.approx(seen[name].amax) for name in ranges)
        layers = json.loads((swept.out / "layers" / f"{key}.json").read_text())
        assert all(one["planned_int8"] == one["ran_int8"] for one in layers.values())
        ran = sum(one["macs"] for one in layers.values() if one["ran_int8"])
        whole = sum(one["macs"] for one in layers.values())
        assert ran / whole == pytest.approx(row["int8_mac_share"])
        assert row["planned_layers_in_float"] == 0
    page = (swept.out / "report.html").read_text()
    assert "thresholds on the histograms" in page


def test_claims_are_judged_on_what_the_runs_kept_of_their_predictions(swept: Bench) -> None:
    found = {one["id"]: one for one in json.loads((swept.out / "claims.json").read_text())}
    entropy = found["entropy2_is_best_for_classifiers"]
    assert set(entropy["rows"]) == set(swept.table.index)
    assert {group["basis"] for group in entropy["groups"]} == {"paired half-samples of the images"}
    int8 = swept.table.set_index("calibrator", append=True)["int8"].unstack()
    leads = [
        (int8.loc[group["rows"], "entropy2"].max() - int8.loc[group["rows"], "minmax"].max())
        / swept.table["fp32"].mean()
        for group in entropy["groups"]
    ]
    assert [group["effect"] for group in entropy["groups"]] == pytest.approx(leads)
    assert (entropy["effect_low"], entropy["effect_high"]) == (min(leads), max(leads))
    assert found["minmax_beats_entropy2_on_yolo"]["verdict"] == "not measured"


def test_the_same_sweep_again_computes_nothing(swept: Bench) -> None:
    rows, cache = times(swept.out / "rows"), times(swept.cache)
    ended = swept("--multirun", *CLASSIFIER, *AXES)
    assert ended.status == 0
    assert times(swept.out / "rows") == rows
    assert times(swept.cache) == cache
    assert "8 runs finished before" in ended.err


def test_a_lost_row_alone_is_computed_again(swept: Bench) -> None:
    before, rows = swept.table, times(swept.out / "rows")
    lost = swept.rows[3]
    lost.unlink()
    assert swept("--multirun", *CLASSIFIER, *AXES).status == 0
    after = times(swept.out / "rows")
    assert {path for path in rows if after[path] != rows[path]} == {lost}
    same_facts(swept, before, 8)


def test_what_calibrates_changes_what_is_found(swept: Bench) -> None:
    table = swept.table
    whole = table[table["plan"] == "all"]
    assert whole["sqnr_db"].nunique() == len(whole)
    assert (table[table["plan"] == "float_first"]["sqnr_db"].min()) > 0


def test_a_declared_input_range_is_the_true_one(detected: pd.DataFrame) -> None:
    declared = detected[detected["input_range"] == "declared"]
    calibrated = detected[detected["input_range"] == "calibrated"]
    assert (declared["input_amax"] == declared["input_true_amax"]).all()
    assert (declared["input_true_amax"] == 1.0).all()
    assert (calibrated["input_amax"] != 1.0).all()


def test_the_fit_of_calibration_images_changes_what_is_found(tmp_path: Path, files: Path) -> None:
    bench = Bench(tmp_path / "out", tmp_path / "cache", files)
    folder = [
        "dataset=imagefolder",
        "dataset.root=FILES/folder/val",
        "dataset.calibration_root=FILES/folder/calib",
    ]
    model = [*CUSTOM[:3], "model.path=FILES/two_classes.onnx"]
    assert bench("--multirun", *model, *folder, "calibration.preprocess=same,crop").status == 0
    assert sorted(bench.table["calibration_preprocess"]) == ["crop", "same"]
    assert bench.table["sqnr_db"].nunique() == 2
    assert len(list(bench.cache.glob("statistics-*-4.npz"))) == 2


def test_onnxruntime_finds_the_same_accuracy_and_says_that_its_latency_means_little(
    swept: Bench, tmp_path: Path
) -> None:
    other = Bench(tmp_path / "out", swept.cache)
    chosen = [*CLASSIFIER, "calibrator=minmax", "calibration.size=8", "engine=onnxruntime"]
    assert other(*chosen).status == 0
    (found,) = (row for _, row in other.table.iterrows())
    table = swept.table.query("calibrator == 'minmax' and calibration_size == 8 and plan == 'all'")
    (expected,) = (row for _, row in table.iterrows())
    assert found["fp32"] == expected["fp32"]
    assert abs(found["int8"] - expected["int8"]) <= 1 / 32
    assert found["sqnr_db"] == pytest.approx(expected["sqnr_db"], abs=3)
    assert found["qdq_bytes"] == expected["qdq_bytes"]
    assert found["exact_sqnr_db"] > found["exact_sqnr_limit_db"]  # with OpenVINO, computed exactly


@pytest.fixture
def alone(tmp_path: Path, files: Path) -> Bench:
    """Four runs of a tiny classifier in one process, which nothing disturbed."""
    bench = Bench(tmp_path / "alone", tmp_path / "cache of alone", files)
    assert bench("--multirun", *TINY, *FEW).status == 0
    return bench


def test_workers_find_what_one_process_finds(alone: Bench, tmp_path: Path) -> None:
    other = Bench(tmp_path / "out", tmp_path / "cache", alone.files)
    workers = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    other.lend_probes()
    ended = other("--multirun", *TINY, *FEW, *workers)
    assert ended.status == 0, ended.err
    assert "4/4" in ended.err
    assert len(read_table(other.out)) == 4
    same_facts(other, alone.table, 4)


def test_two_sweeps_into_one_folder_agree(alone: Bench, tmp_path: Path) -> None:
    both = Bench(tmp_path / "out", tmp_path / "cache", alone.files)
    processes = [both.start("--multirun", *TINY, *FEW) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
    assert not [path for path in (both.out / "rows").iterdir() if path.suffix != ".json"]
    assert len(read_table(both.out)) == 4
    same_facts(both, alone.table, 4)
    statistics = sorted(path.name for path in both.cache.glob("statistics-*.npz"))
    assert statistics == sorted(path.name for path in alone.cache.glob("statistics-*.npz"))


def test_a_killed_sweep_leaves_whole_rows_and_goes_on(alone: Bench, tmp_path: Path) -> None:
    killed = Bench(tmp_path / "out", alone.cache, alone.files)
    slow = ["timing.rounds=1000000", "timing.seconds=0.3"]
    process = killed.start("--multirun", *TINY, *FEW, *slow)
    wait_for(lambda: killed.rows)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(killed.table) == len(killed.rows) < 4
    assert not (killed.out / "table.csv").exists()

    kept = times(killed.out / "rows", "*.json")
    assert killed("--multirun", *TINY, *FEW, *slow).status == 0
    assert kept.items() <= times(killed.out / "rows", "*.json").items()
    assert len(read_table(killed.out)) == len(killed.rows) == 4
    found, expected = (own.table.set_index(["calibration_size", "plan"]) for own in (killed, alone))
    pd.testing.assert_frame_equal(found[FACTS], expected.loc[found.index, FACTS], rtol=1e-6)


def test_a_single_run_is_a_sweep_of_one(swept: Bench, tmp_path: Path) -> None:
    one = Bench(tmp_path / "out", swept.cache)
    assert one(*CLASSIFIER, "calibrator=entropy2", "calibration.size=8").status == 0
    (path,) = one.rows
    assert path.name in {row.name for row in swept.rows}
    assert (one.out / "table.csv").exists()
