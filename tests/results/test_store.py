"""The store: whole rows or none, and foreign files named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.store import RowStore
from bench.results.table import make_table
from bench.sealed import DamagedError


def test_what_was_added_comes_back_in_the_order_of_its_start(tmp_path, full_row):
    store = RowStore(tmp_path / "sweep")
    assert store.rows() == []
    late = full_row(run_key="a", started_at="2026-01-02")
    early = full_row(run_key="b", started_at="2026-01-01")
    skipped = full_row(measured=False, run_key="c", started_at="2026-01-03", status="skipped")
    for row in (late, early, skipped):
        assert not store.finished(row.run_key)
        store.add(row, {"int8_ns": (3, 1, 2)})
        assert bool(store.finished(row.run_key)) == (row is not skipped)
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
    assert not store.finished("k")
    assert list((tmp_path / "rows").iterdir()) == []
    assert store.rows() == []


def test_a_row_that_is_no_json_leaves_nothing(tmp_path, full_row):
    store = RowStore(tmp_path)
    with pytest.raises(TypeError):
        store.add(full_row(run_key="k", int8=object()), {})
    assert not store.finished("k")
    assert store.rows() == []


def test_files_of_a_write_in_flight_are_no_rows(tmp_path, full_row):
    store = RowStore(tmp_path)
    store.add(full_row(run_key="k"), {})
    (tmp_path / "rows" / ".k2.json.abc123").write_text('{"row": {')
    assert [row.run_key for row in store.rows()] == ["k"]


UNREADABLE = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "null": lambda text: '{"row": null}',
    "few columns": lambda text: '{"row": {"run_key": "k"}}',
    "nested": lambda text: "[" * 100_000,
    "edited": lambda text: text.replace('"ok"', '"no"'),
    "zeroed": lambda text: text[:500] + "\0" * 40 + text[540:],
}


@pytest.mark.parametrize("damage", UNREADABLE)
def test_a_file_that_is_no_row_is_set_aside_and_told_in_one_line(
    tmp_path, full_row, capsys, damage
):
    store = RowStore(tmp_path)
    for key in ("good", "k"):
        store.add(full_row(run_key=key), {})
    path = store.path("k")
    path.write_text(UNREADABLE[damage](path.read_text()))
    content = path.read_bytes()
    assert [row.run_key for row in store.rows()] == ["good"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} cannot be read (")
    assert line.endswith("it was renamed to k.json.unreadable")
    assert path.with_name("k.json.unreadable").read_bytes() == content
    assert not store.finished("k")
    store.add(full_row(run_key="k"), {})
    assert store.finished("k")
    assert len(store.rows()) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("calibration_seed", 99999999999999999999999),
        ("calibration_seed", "0"),
        ("calibration_size", None),
        ("calibration_size", 2.5),
        ("int8", float("nan")),
        ("int8", True),
        ("model", 3),
        ("model", "\ud800"),
    ],
)
def test_a_value_that_no_table_can_hold_is_set_aside(tmp_path, full_row, capsys, name, value):
    """As a row that was edited, or one from before such values were refused."""
    store = RowStore(tmp_path)
    store.add(full_row(run_key="good"), {})
    row = full_row(run_key="k").to_json() | {name: value}
    store.path("k").write_text(json.dumps({"row": row}))
    assert not store.finished("k")
    assert name in capsys.readouterr().err
    assert [row.run_key for row in store.rows()] == ["good"]


def test_a_row_under_another_name_is_set_aside(tmp_path, full_row, capsys):
    store = RowStore(tmp_path)
    store.add(full_row(run_key="k"), {})
    store.path("other").write_bytes(store.path("k").read_bytes())
    assert not store.finished("other")
    assert "(it is the row of k)" in capsys.readouterr().err
    assert [row.run_key for row in store.rows()] == ["k"]


def test_a_row_that_another_process_made_again_meanwhile_stays(tmp_path, full_row, monkeypatch):
    store, good = RowStore(tmp_path), full_row(run_key="k")
    store.add(good, {})
    whole = store.path("k").read_bytes()
    store.path("k").write_bytes(b"{")

    def meanwhile(path: Path, content: bytes) -> None:
        store.path("k").write_bytes(whole)
        raise ValueError("as it was read")

    with monkeypatch.context() as patch:
        patch.setattr("bench.results.store.read_run", meanwhile)
        assert not store.finished("k")
    assert store.rows() == [good]


def test_a_folder_in_the_place_of_a_row_is_set_aside(tmp_path, capsys):
    store = RowStore(tmp_path)
    store.path("k").mkdir(parents=True)
    assert store.rows() == []
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_whole_row_of_a_later_version_is_not_set_aside(tmp_path, full_row):
    store = RowStore(tmp_path)
    store.add(full_row(run_key="k", schema_version=99), {})
    for read in (store.rows, lambda: store.finished("k")):
        with pytest.raises(DataError, match=r"not a row of this version .*Use the version that"):
            read()
    assert store.path("k").exists()


def test_a_row_from_before_there_were_checksums_is_read(tmp_path, full_row):
    store, row = RowStore(tmp_path), full_row(run_key="k")
    store.path("k").parent.mkdir()
    store.path("k").write_text(json.dumps({"row": row.to_json(), "raw": {}}, indent=1))
    assert store.rows() == [row]


def test_a_run_s_files_are_compared_with_what_its_row_lists(tmp_path, full_row):
    folder = SweepFolder(tmp_path)
    path = folder.ranges("k")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    store = RowStore(tmp_path)
    assert store.read_file("ranges", "k") == b"{}"  # its row is not there yet
    store.add(full_row(run_key="k"), {})
    assert store.read_file("ranges", "k") == b"{}"
    assert store.read_file("losses", "k") is None
    path.write_text("[]")
    with pytest.raises(DamagedError, match=r"k\.json is damaged \(its checksum is not in k\.json"):
        store.read_file("ranges", "k")


def test_a_run_with_a_damaged_file_beside_its_row_is_made_again(tmp_path, full_row, capsys):
    store, path = RowStore(tmp_path), SweepFolder(tmp_path).judged("k")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"judged")
    store.add(full_row(run_key="k"), {})
    assert store.finished("k") is not None
    path.write_bytes(b"judgeD")
    assert store.finished("k") is None
    [line] = capsys.readouterr().err.splitlines()
    assert f"{path} is damaged" in line
    assert "it was renamed to k.json.unreadable" in line


def test_what_rounding_does_is_read_with_the_row(tmp_path, full_row, capsys):
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
    assert store.rows()[0].rounding_sd is None
    assert "renamed to a.json.unreadable" in capsys.readouterr().err
    assert not store.has_rounding(row.run_key)
