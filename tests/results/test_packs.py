"""Packs: what was loose comes back, whatever is killed in between, and nothing twice."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from bench.errors import DataError
from bench.results import packs, store
from bench.results.csv_text import csv_of
from bench.results.folder import SweepFolder
from bench.results.histograms import HistogramStore
from bench.results.store import RowStore
from bench.results.table import make_table, read_table, write_table


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (packs, store):
        monkeypatch.setattr(module, "FEWEST_LOOSE", 3)


@pytest.fixture
def rows(full_row):
    changes = [
        {"run_key": f"k{number}", "started_at": f"2026-01-0{9 - number}", "rounding_sd": None}
        for number in range(5)
    ]
    changes[1] |= {"status": "skipped"}
    changes[2] |= {"error": 'a "b", c', "n_images": None, "delta": -1e-7}
    return [full_row(**own) for own in changes]


@pytest.fixture
def filled(tmp_path, rows) -> RowStore:
    found = RowStore(tmp_path)
    for row in rows:
        found.add(row, {"int8_ns": (3, 1)})
        HistogramStore(tmp_path).add_ranges(row.run_key, f'{{"{row.run_key}": [-2.0, 2.0]}}')
    found.add_rounding("k3", [0.5, 0.6])
    return found


def loose(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "rows").glob("*.json")}


def test_packed_runs_come_back_as_they_were(filled, tmp_path):
    before, table = filled.rows(), filled.table()
    filled.pack()
    assert loose(tmp_path) == {"k1"}  # it was skipped, and may be made again
    assert sorted(path.stem for path in (tmp_path / "ranges").iterdir()) == ["k1"]
    for found in (filled, RowStore(tmp_path)):  # it also sees packs that came since it was made
        assert found.rows() == before
        pd.testing.assert_frame_equal(found.table(), table, check_dtype=False)
        assert [found.settled(f"k{number}") for number in range(6)] == [
            True, False, True, True, True, False,
        ]  # fmt: skip
    assert HistogramStore(tmp_path).ranges("k4") == {"k4": 2.0}
    assert HistogramStore(tmp_path).ranges("k1") == {"k1": 2.0}


def test_a_packed_run_has_its_files_again_where_they_are_named(filled, tmp_path):
    before, content = filled.rows(), filled.path("k4").read_text()
    filled.pack()
    filled.packs.restore({"k4", "k1", "unknown"})
    assert loose(tmp_path) == {"k1", "k4"}
    assert filled.path("k4").read_text() == content
    assert (tmp_path / "ranges" / "k4.json").is_file()
    assert filled.rows() == before


def test_a_new_row_joins_those_that_are_packed(filled, tmp_path, full_row):
    filled.pack()
    filled.add(full_row(run_key="new", started_at="2026-02-01"), {})
    filled.pack()  # too few to pack
    assert loose(tmp_path) == {"k1", "new"}
    assert filled.table()["run_key"].tolist() == ["k4", "k3", "k2", "k1", "k0", "new"]
    assert [row.run_key for row in filled.rows()] == ["k4", "k3", "k2", "k1", "k0", "new"]


@pytest.mark.parametrize("kills", range(0, 9, 2))
def test_a_kill_at_any_removal_loses_and_doubles_nothing(filled, tmp_path, monkeypatch, kills):
    before, removals = filled.rows(), iter(range(kills))
    unlink = Path.unlink

    def die(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".json" and next(removals, None) is None:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            filled.pack()
    found = RowStore(tmp_path)
    assert found.rows() == before
    assert len(found.table()) == len(before)
    assert all(HistogramStore(tmp_path).ranges(row.run_key) for row in before)
    found.pack()
    assert found.rows() == before
    assert len(loose(tmp_path)) <= 2  # what is left of a kill goes where there are many again


def test_a_kill_while_a_pack_is_written_changes_nothing(filled, tmp_path, monkeypatch):
    before = filled.rows()

    def fail(*arguments: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no space left"):
            filled.pack()
    assert RowStore(tmp_path).rows() == before
    assert len(loose(tmp_path)) == 5


def test_a_row_that_no_column_holds_stays_loose(filled, tmp_path, full_row):
    odd = full_row(run_key="odd", calibration_seed=10**30, started_at="2026-03-01")
    filled.add(odd, {})
    filled.pack()
    assert loose(tmp_path) == {"k1", "odd"}
    assert filled.rows()[-1] == odd
    assert filled.table()["run_key"].tolist()[-1] == "odd"


def test_another_row_under_a_packed_key_is_kept(filled, tmp_path, full_row):
    filled.pack()
    changed = full_row(run_key="k0", started_at="2026-01-09", int8=0.123)
    for key in ("k0", "k5", "k6"):
        filled.add(changed if key == "k0" else full_row(run_key=key), {})
    filled.pack()
    assert "k0" in loose(tmp_path)
    assert [row for row in filled.rows() if row.run_key == "k0"] == [changed]
    assert filled.table()["run_key"].value_counts().max() == 1


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_damaged_pack_is_named_in_one_line(filled, tmp_path, share):
    filled.pack()
    (path,) = SweepFolder(tmp_path).packs.glob("*.parquet")
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    path.write_bytes(content if share < 0.5 else content[: int(share * len(content))])
    with pytest.raises(DataError) as caught:
        RowStore(tmp_path).table()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_files_are_those_of_pandas(filled, tmp_path, rows):
    filled.pack()
    table = filled.table()
    write_table(table, tmp_path)
    assert (tmp_path / "table.csv").read_text() == table.to_csv(index=False)
    again = read_table(tmp_path)
    assert again["error"].tolist() == make_table(filled.rows())["error"].tolist()


def test_csv_text_is_that_of_pandas():
    table = pd.DataFrame(
        {
            "number": [1.0, -0.0, 1e-7, 0.1, 1e22, 12345678901.5, None, float("inf")],
            "text": ["a,b", 'q"x', "l\nm", "", " ", None, "\u00fc", "plain"],
            "none": [None] * 8,
            "whole": range(8),
        }
    )
    found = csv_of(pa.Table.from_pandas(table, preserve_index=False)).decode()
    assert found == table.to_csv(index=False)
