"""The store: whole rows or none, and foreign files named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.errors import DataError
from bench.results.store import RowStore
from bench.results.table import make_table


def test_what_was_added_comes_back_in_the_order_of_its_start(tmp_path, full_row):
    store = RowStore(tmp_path / "sweep")
    assert store.rows() == []
    late = full_row(run_key="a", started_at="2026-01-02")
    early = full_row(run_key="b", started_at="2026-01-01")
    skipped = full_row(measured=False, run_key="c", started_at="2026-01-03", status="skipped")
    for row in (late, early, skipped):
        assert not store.settled(row.run_key)
        store.add(row, {"int8_ns": (3, 1, 2)})
        assert store.settled(row.run_key) == (row is not skipped)
    assert store.rows() == [early, late, skipped]


def test_raw_values_lie_beside_the_row(tmp_path, full_row):
    store = RowStore(tmp_path)
    store.add(full_row(run_key="k"), {"int8_ns": (30, 10, 20)})
    content = json.loads(store.path("k").read_text())
    assert content["raw"] == {"int8_ns": [30, 10, 20]}
    assert content["row"]["run_key"] == "k"


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_write_that_fails_leaves_nothing(tmp_path, full_row, monkeypatch, stage):
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no space left on device")

    store = RowStore(tmp_path)
    monkeypatch.setattr(*((os, "fsync") if stage == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="no space left"):
        store.add(full_row(run_key="k"), {})
    monkeypatch.undo()
    assert not store.settled("k")
    assert list((tmp_path / "rows").iterdir()) == []
    assert store.rows() == []


def test_a_row_that_is_no_json_leaves_nothing(tmp_path, full_row):
    store = RowStore(tmp_path)
    with pytest.raises(TypeError):
        store.add(full_row(run_key="k", int8=object()), {})
    assert not store.settled("k")
    assert store.rows() == []


def test_files_of_a_write_in_flight_are_no_rows(tmp_path, full_row):
    store = RowStore(tmp_path)
    store.add(full_row(run_key="k"), {})
    (tmp_path / "rows" / ".k2.json.abc123").write_text('{"row": {')
    assert [row.run_key for row in store.rows()] == ["k"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", "null", '{"row": null}', '{"row": []}', '{"row": {"run_key": "k"}}'],
)
def test_a_foreign_file_is_named_in_one_line(tmp_path, full_row, content):
    store = RowStore(tmp_path)
    store.add(full_row(run_key="good"), {})
    foreign = tmp_path / "rows" / "foreign.json"
    foreign.write_text(content)
    with pytest.raises(DataError) as caught:
        store.rows()
    text = str(caught.value)
    assert str(foreign) in text
    assert "Move it away" in text
    assert "\n" not in text


def test_what_rounding_does_is_read_with_the_row(tmp_path, full_row):
    store, row = RowStore(tmp_path), full_row(run_key="a", rounding_sd=None)
    store.add(row, {})
    assert not store.has_rounding(row.run_key)
    store.add_rounding(row.run_key, [0.500, 0.502, 0.501])
    assert store.has_rounding(row.run_key)
    assert store.rows()[0].rounding_sd == pytest.approx(0.001)
    assert make_table(store.rows())["rounding_sd"].tolist() == pytest.approx([0.001])
    store.add_rounding(row.run_key, [])  # of an engine that offers no exact computation
    assert store.rows()[0].rounding_sd is None
    (tmp_path / "rounding" / f"{row.run_key}.json").write_text("[1")
    with pytest.raises(DataError, match="does not say what rounding does"):
        store.rows()
