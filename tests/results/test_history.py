"""Rows of older schemas are read as today's."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from bench.errors import DataError
from bench.results.history import ORDER_IN_VERSION_1, RENAMED, SCHEMA_VERSION, upgrade_table
from bench.results.options import read_options, typed_dataset_options, write_options
from bench.results.row import COLUMNS, Row
from bench.results.store import RowStore
from bench.results.table import make_table, read_table, write_table

NEW = (
    "harness_version", "dataset_options", "timing", "missing_scales", "device_launch",
    "device_enqueue_p50_ms", "device_upload_p50_ms", "device_download_p50_ms",
    "measured_on", "source_key", "predicted_int8", "engine_fp32", "raced_against", "raced_ahead",
    "plan_note",
)  # fmt: skip
RECORD = Path(__file__).parents[2] / "results" / "reference" / "record"


def as_version_1(row: Row) -> dict:
    old = {new: old for old, new in RENAMED[1].items()}
    values = {old.get(name, name): value for name, value in row.to_json().items()}
    return {name: value for name, value in values.items() if name not in NEW} | {
        "schema_version": 1
    }


@pytest.fixture
def row(full_row) -> Row:
    typed = (
        "dataset=c dataset.name=c +dataset.calibration_domain=day dataset.root='a b' dataset.x=null"
    )
    return full_row(
        qdq_bytes=3, engine_bytes=4, builder_warning_text="1.20", harness_version="",
        timing="", plan_note="", missing_scales=None, device_launch="", device_enqueue_p50_ms=None,
        device_upload_p50_ms=None, device_download_p50_ms=None,
        measured_on="", source_key="", predicted_int8=None, engine_fp32=None, raced_against="",
        raced_ahead=None,
        overrides=f"model=a model.name=b {typed}",
        dataset_options="calibration_domain=day, root=a b",
    )  # fmt: skip


def test_every_old_name_leads_to_a_column() -> None:
    names = {RENAMED[1].get(name, name) for name in ORDER_IN_VERSION_1}
    assert set(COLUMNS) == {*names, *NEW}
    assert set(RENAMED[1]) <= set(ORDER_IN_VERSION_1)


def test_the_table_keeps_the_order_of_version_1() -> None:
    renamed = [RENAMED[1].get(name, name) for name in ORDER_IN_VERSION_1]
    assert list(COLUMNS)[: len(renamed)] == renamed


@pytest.mark.parametrize("stated", [True, False])
def test_a_row_of_version_1(tmp_path: Path, row: Row, stated: bool) -> None:
    values = as_version_1(row)
    assert (values["engine_bytes"], values["built_engine_bytes"]) == (3, 4)
    if not stated:
        del values["schema_version"]
    assert Row.from_json(values) == row
    store = RowStore(tmp_path)
    store.path(row.run_key).parent.mkdir()
    store.path(row.run_key).write_text(json.dumps({"row": values, "raw": {}}))
    assert store.finished(row.run_key)
    assert store.rows() == [row]
    assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row


def with_nan(table: pd.DataFrame) -> pd.DataFrame:
    """Today's columns, with one kind of missing value."""
    return table[list(COLUMNS)].astype(object).where(table[list(COLUMNS)].notna(), math.nan)


@pytest.mark.parametrize("stated", [True, False])
def test_a_table_of_version_1(tmp_path: Path, row: Row, stated: bool) -> None:
    old = pd.DataFrame([as_version_1(row)])
    if not stated:
        old = old.drop(columns="schema_version")
    old.to_csv(tmp_path / "table.csv", index=False)
    expected = with_nan(make_table([row]))
    found = read_table(tmp_path)
    pd.testing.assert_frame_equal(with_nan(found), expected, check_dtype=False)
    write_table(found, tmp_path)
    pd.testing.assert_frame_equal(with_nan(read_table(tmp_path)), expected, check_dtype=False)


def test_a_parquet_table_of_version_1(tmp_path: Path, row: Row) -> None:
    pd.DataFrame([as_version_1(row)]).to_parquet(tmp_path / "table.parquet")
    found = upgrade_table(pd.read_parquet(tmp_path / "table.parquet"))
    assert found["qdq_bytes"].tolist() == [3]
    assert found["engine_bytes"].tolist() == [4]
    assert found["schema_version"].tolist() == [SCHEMA_VERSION]


def test_versions_may_be_mixed(tmp_path: Path, row: Row, full_row) -> None:
    new = full_row(run_key="new", qdq_bytes=5, engine_bytes=6)
    mixed = pd.concat([make_table([new]), pd.DataFrame([as_version_1(row)])])
    mixed.to_csv(tmp_path / "table.csv", index=False)
    found = read_table(tmp_path)
    assert found["run_key"].tolist() == ["new", row.run_key]
    assert found["qdq_bytes"].tolist() == [5, 3]
    assert found["engine_bytes"].tolist() == [6, 4]
    assert found["builder_warning_text"].tolist() == [new.builder_warning_text, "1.20"]


def test_a_table_of_a_later_version(tmp_path: Path, row: Row) -> None:
    table = make_table([row]).assign(schema_version=SCHEMA_VERSION + 1)
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match=f"schema version {SCHEMA_VERSION + 1}"):
        read_table(tmp_path)


def test_the_record_is_read(tmp_path: Path) -> None:
    raw = pd.read_csv(RECORD / "yolov8n-shapes" / "table.csv")
    found = read_table(RECORD / "yolov8n-shapes")
    assert found["qdq_bytes"].tolist() == raw["engine_bytes"].tolist()
    assert found["engine_bytes"].isna().all()
    assert set(found["schema_version"]) == {SCHEMA_VERSION}


def test_options_of_a_dataset_are_read_as_they_are_written() -> None:
    options = {"images": "a, b/c", "calibration_outlier": "True"}
    assert read_options("images=a, b/c, calibration_outlier=True") == options
    assert read_options(write_options({"domain": "day"})) == {"domain": "day"}
    assert read_options("") == {} == read_options("no option")
    assert (
        typed_dataset_options("dataset=shapes 'dataset.root=a") == ""
    )  # a quote that does not end


def test_a_table_of_version_1_without_overrides(tmp_path: Path, row: Row) -> None:
    pd.DataFrame([as_version_1(row)]).drop(columns="overrides").to_csv(tmp_path / "table.csv")
    assert read_table(tmp_path)["dataset_options"].tolist() == [""]
