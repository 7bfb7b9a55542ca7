"""A kit on the stand-in for TensorRT: native caches, engines, and what a version does not have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.deploy.kit.__main__ import main as kit_main
from bench.deploy.merge.__main__ import main as merge_main
from bench.results.row import Row
from bench.results.store import RowStore
from tests.deploy.kit_commands import (
    QUICK,
    keys_of,
    of_target,
    on_stand_in,
    run_there,
    said_by,
)

pytestmark = pytest.mark.e2e


def test_native_caches_and_every_engine_of_tensorrt_8(
    kit: Path, sweep: Path, tmp_path: Path, rows: dict[str, Row]
) -> None:
    ended = run_there(kit, "--name", "orin", *QUICK, **on_stand_in("8.5.1.7"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = kit / "results" / "orin"
    assert (results / "native-minmax.cache").read_bytes().startswith(b"TRT-8501-MinMaxCalibration")
    assert json.loads((results / "native-entropy2.json").read_text())["batches"] == 4
    order = [
        line.split()[1] for line in ended.stdout.splitlines() if "]" in line and ": ok" in line
    ]
    assert order[:2] == ["native-minmax:", "native-entropy2:"]

    own = Path(shutil.copytree(sweep, tmp_path / "sweep"))
    said = said_by(merge_main, kit, "--sweep", own)

    assert said.status == 0, said.err
    merged = {row.calibrator: row for row in RowStore(own).rows() if row.measured_on == "orin"}
    assert set(merged) == {"minmax", "tensorrt_minmax", "tensorrt_entropy2"}
    native = merged["tensorrt_minmax"]
    assert (native.engine, native.engine_version) == ("tensorrt", "8.5.1.7")
    assert (native.placement, native.plan) == ("implicit", "all")
    assert native.engine_options == "mode=implicit"
    assert native.predicted_int8 is not None
    of_plan = {row.plan: row for row in RowStore(own).rows() if row.calibrator == "minmax"}
    explicit = of_target(own)[rows["float_first"].run_key]
    assert explicit.int8 == explicit.predicted_int8
    assert explicit.fp16 is not None and explicit.device_latency_p50_ms is not None
    assert explicit.speedup == pytest.approx(
        explicit.fp32_device_latency_p50_ms / explicit.device_latency_p50_ms
    )  # by the device's clock, as in rows of a sweep
    assert explicit.device_launch in ("CUDA graph", "kernels")
    assert explicit.device_enqueue_p50_ms is not None
    assert explicit.planned_layers_in_float == 0
    assert 0 < (explicit.int8_mac_share or 0) < 1
    assert explicit.device.startswith("NVIDIA Test GPU")
    assert set(of_plan) == {"all", "float_first"}
    assert (own / "ranges" / f"{native.run_key}.cache").is_file()
    assert "Q/DQ files" in (own / "report.html").read_text()


@pytest.mark.slow
def test_ranges_are_built_from_caches_if_asked_for(kit: Path) -> None:
    words = ["--name", "orin", "--implicit", "--half", "--jobs", "int8-[!n]*", *QUICK]
    ended = run_there(kit, *words, **on_stand_in("10.16.1.11"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = [
        json.loads((kit / "results" / "orin" / f"int8-{key}.json").read_text())
        for key in keys_of(kit)
    ]
    assert [own["mode"] for own in found] == ["implicit", "implicit"]
    assert [own["options"]["half"] for own in found] == [True, True]


@pytest.mark.slow
def test_tensorrt_11_has_neither_calibrators_nor_the_flag_of_fp16(kit: Path) -> None:
    ended = run_there(kit, "--name", "thor", *QUICK, **on_stand_in("11.4.0.106"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = {
        path.stem: json.loads(path.read_text())
        for path in (kit / "results/thor").glob("*.json")
        if path.stem != "machine" and not path.stem.endswith(".layers")
    }
    status = {name: own["status"] for name, own in found.items()}
    assert status["native-minmax"] == status["int8-native-minmax"] == status["fp16"] == "skipped"
    assert "int8bench kit --fp16" in found["fp16"]["reason"]
    explicit = [own for name, own in found.items() if name.startswith("int8-") and "mode" in own]
    assert [own["mode"] for own in explicit] == ["explicit", "explicit"]
    assert {own["status"] for own in explicit} == {"ok"}


def test_an_fp16_file_in_the_kit_gives_tensorrt_11_its_fp16_row(
    sweep: Path, rows: dict[str, Row], tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    words = [sweep, "--to", kit, "--fp16", "--native", "none", "--run", rows["all"].run_key]
    said = said_by(kit_main, *words)
    assert said.status == 0, said.err
    fp32, fp16 = ((kit / f"models/{name}.onnx").stat().st_size for name in ("fp32", "fp16"))
    assert fp16 < 0.75 * fp32
    ended = run_there(kit, "--name", "thor", "--jobs", "fp*", *QUICK, **on_stand_in("11.4.0.106"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads((kit / "results/thor/fp16.json").read_text())
    assert (result["status"], result["mode"]) == ("ok", "fp16")
    assert result["images"] == rows["all"].n_images


def test_no_driver_is_told_before_anything_is_done(kit: Path) -> None:
    ended = run_there(kit, **on_stand_in("8.5.1.7"), FAKE_NO_DRIVER="1")
    assert ended.returncode == 2
    assert "cannot start a builder" in ended.stdout
    assert not (kit / "results").exists()
