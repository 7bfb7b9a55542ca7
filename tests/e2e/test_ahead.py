"""Engines built for another machine: as a run of their own, and beside a measured one."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.engine.trt.rtx import TensorRtRtx
from bench.errors import EngineError
from bench.results.row import COLUMNS
from bench.results.table import read_table
from tests.e2e.command import Bench

pytestmark = pytest.mark.e2e

RUN = ["model=resnet18", "dataset.validation_images=8", "dataset.calibration_images=4"]
BUILT = ["engine_bytes", "engine_build_s", "fp32_engine_bytes", "fp32_engine_s"]
MEASURED = [
    name for name in COLUMNS
    if name.endswith("_ms") or name in ("fp32", "int8", "delta", "n_images", "sqnr_db", "speedup")
]  # fmt: skip


@pytest.fixture
def package() -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="pip install -e '.[rtx]'")


def only(table: pd.DataFrame) -> dict[str, Any]:
    (row,) = table.to_dict("records")
    return {str(name): value for name, value in row.items()}


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("package")
def test_a_run_that_ends_with_the_engine(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    sweep = ["--multirun", *RUN, "engine=tensorrt_rtx", "plan=all,float_first"]
    ended = bench(*sweep, report=True)
    assert ended.status == 0, ended.err
    table = bench.table
    assert table["status"].tolist() == ["built", "built"]
    assert table[MEASURED].isna().all(axis=None)
    assert (table["engine"] == "tensorrt_rtx").all()
    assert (table["builder"] == "tensorrt_rtx").all()
    assert (table["builder_version"] == table["engine_version"]).all()
    assert (table["compute_capability"] == "SM89").all()
    assert (table["builder_warnings"] == 0).all()
    assert (table["engine_bytes"] > table["qdq_bytes"]).all()
    assert (table["engine_bytes"] < table["fp32_engine_bytes"]).all()
    assert (table["fp16_engine_bytes"] < table["fp32_engine_bytes"]).all()
    assert table["fp32_engine_s"].nunique() == 1  # built once for the sweep
    assert (table["build_s"] > table["engine_build_s"]).all()
    assert (table["planned_mac_share"] > 0.9).all()
    assert not list(bench.cache.glob("fp32-*"))  # nothing was evaluated

    text = (bench.out / "report.md").read_text()
    version = table["engine_version"].iloc[0]
    assert f"tensorrt_rtx {version} (SM89) builds ahead of time" in text
    assert "2 runs of 2 built an engine and did not run it" in text
    assert "engines built, not run" in " ".join(ended.out.split())
    claims = json.loads((bench.out / "claims.json").read_text())
    assert {claim["verdict"] for claim in claims} == {"not measured"}

    rows = times(bench.out / "rows")
    assert bench(*sweep).status == 0
    assert times(bench.out / "rows") == rows
    assert read_table(bench.out)["status"].tolist() == ["built", "built"]


@pytest.mark.usefixtures("package")
def test_an_engine_built_beside_a_measured_run(tmp_path: Path, cache: Path) -> None:
    bench, before = Bench(tmp_path / "out", cache), Bench(tmp_path / "before", cache)
    chosen = [*RUN, "also_build=tensorrt_rtx", "also_build.compute_capability=SM86"]
    assert before(*RUN).status == 0
    alone = only(before.table)
    assert alone["builder"] == alone["compute_capability"] == ""
    assert all(pd.isna(alone[name]) for name in BUILT)

    ended = bench(*chosen)
    assert ended.status == 0, ended.err
    beside = only(bench.table)
    assert beside["status"] == "ok"
    assert beside["engine"] == "openvino"
    assert (beside["builder"], beside["compute_capability"]) == ("tensorrt_rtx", "SM86")
    assert beside["builder_error"] == ""
    assert 0 < beside["engine_bytes"] < beside["fp32_engine_bytes"]
    assert [beside[name] for name in ("fp32", "int8", "sqnr_db", "qdq_bytes")] == [
        alone[name] for name in ("fp32", "int8", "sqnr_db", "qdq_bytes")
    ]
    told = " ".join(ended.out.split())
    assert "for GPUs of compute capability 8.6 (SM86): " in told
    assert "it was not run: " in told


@pytest.mark.usefixtures("package")
def test_a_builder_that_refuses_costs_no_row(tmp_path: Path, cache: Path) -> None:
    """TensorRT has no zero points."""
    bench = Bench(tmp_path / "out", cache)
    ended = bench(*RUN, "also_build=tensorrt_rtx", "scheme=asymmetric")
    assert ended.status == 0, ended.err
    row = only(bench.table)
    assert row["status"] == "ok"
    assert row["int8"] is not None
    assert "zero point is not supported" in row["builder_error"]
    assert "\n" not in row["builder_error"]
    assert all(pd.isna(row[name]) for name in BUILT)


@pytest.mark.usefixtures("package")
def test_an_fp32_network_that_the_builder_refuses_costs_only_its_own_columns(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TensorRtRtx.compile

    def refuse_float(self: TensorRtRtx, model: Any) -> Any:
        if all(node.op_type != "QuantizeLinear" for node in model.graph.node):
            raise EngineError("FP32 is not supported")
        return real(self, model)

    monkeypatch.setattr(TensorRtRtx, "compile", refuse_float)
    bench = Bench(tmp_path / "out", cache)
    ended = bench(*RUN, "engine=tensorrt_rtx", "engine.compute_capability=SM80", report=True)
    assert ended.status == 0, ended.err
    row = only(bench.table)
    assert row["status"] == "built", row["error"]
    assert row["engine_bytes"] > 0 and row["engine_build_s"] > 0
    assert pd.isna(row["fp32_engine_bytes"]) and pd.isna(row["fp32_engine_s"])
    text = (bench.out / "report.md").read_text()
    assert "(SM80) refused the FP32 network of 1 run: there is no FP32 engine" in text


@pytest.mark.usefixtures("package")
def test_a_model_that_the_builder_refuses_is_a_skipped_row_until_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: TensorRtRtx, model: Any) -> Any:
        raise EngineError("cannot build this")

    bench = Bench(tmp_path / "out", tmp_path / "cache")
    with monkeypatch.context() as other:
        other.setattr(TensorRtRtx, "compile", refuse)
        assert bench(*RUN, "engine=tensorrt_rtx").status == 0
        row = only(bench.table)
        assert (row["status"], row["error"]) == ("skipped", "cannot build this")
    assert bench(*RUN, "engine=tensorrt_rtx").status == 0
    again = only(bench.table)
    assert again["status"] == "built"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["engine=tensorrt_rtx", "engine.compute_capability=SM90"], ["SM90", "Use one of SM75"]),
        (
            ["also_build=tensorrt_rtx", "also_build.compute_capability=SM90"],
            ["SM90", "Use one of SM75"],
        ),
        (["also_build=openvino"], ["also_build=openvino", "Use one of tensorrt_rtx"]),
        (["also_build.compute_capability=SM86"], ["also_build", "Add also_build=tensorrt_rtx"]),
        (["engine=tensorrt_rtx", "scheme=asymmetric"], ["no asymmetric", "scheme=symmetric"]),
        (
            ["engine=tensorrt_rtx", "also_build=tensorrt_rtx"],
            ["builds NVIDIA engines", "Drop also_build"],
        ),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(
    given: list[str], told: list[str], tmp_path: Path, package: None
) -> None:
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    ended = bench(*RUN, *given)
    assert ended.status == 2
    assert all(words in ended.one_line for words in told)
    assert bench.left_nothing
    assert not list(bench.cache.glob("statistics-*"))  # refused before anything is computed


@pytest.mark.parametrize("given", ["engine=tensorrt_rtx", "also_build=tensorrt_rtx"])
def test_without_the_package_one_line_names_the_extra(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("tensorrt_rtx"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *rest)

    monkeypatch.setattr("bench.engine.trt.rtx.importlib.import_module", absent)
    bench = Bench(tmp_path / "out", tmp_path / "cache")
    ended = bench(*RUN, given)
    assert ended.status == 2
    assert "pip install -e '.[rtx]'" in ended.one_line
    assert bench.left_nothing
