"""Packs: what was loose comes back, whatever is killed in between, and nothing twice."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import DataError
from bench.results import packs, store
from bench.results.folder import SweepFolder
from bench.results.histograms import HistogramStore
from bench.results.row import Row
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
        HistogramStore(tmp_path).add_ranges(row.run_key, f'{{"{row.run_key}": [-2.0, 2.0]}}')
        found.add(row, {"int8_ns": (3, 1)})
    found.add_rounding("k3", [0.5, 0.6])
    return found


def the_pack(folder: Path) -> Path:
    (path,) = SweepFolder(folder).packs.glob("*.parquet")
    return path


def replace_pack(folder: Path, content: pa.Table) -> Path:
    """Another pack in place of the one there, named by its hash as it should be."""
    buffer = io.BytesIO()
    pq.write_table(content, buffer)
    the_pack(folder).unlink()
    name = hashlib.sha256(buffer.getvalue()).hexdigest()[: packs.DIGITS]
    path = SweepFolder(folder).pack(name)
    path.write_bytes(buffer.getvalue())
    return path


def with_column(content: pa.Table, name: str, value: object) -> pa.Table:
    """The table with the last row's value of a column replaced."""
    values = [*content[name].to_pylist()[:-1], value] if name != "int8" else [value] * len(content)
    place = content.schema.get_field_index(name)
    return content.set_column(place, name, pa.array(values))


def loose(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "rows").glob("*.json")}


def test_a_row_that_lost_a_race_stays_loose(filled, tmp_path, full_row):
    """A plain sweep completes it."""
    filled.add(full_row(run_key="lost", status="raced", rounding_sd=None), {})
    filled.pack()
    assert loose(tmp_path) == {"k1", "lost"}


def test_packed_runs_come_back_as_they_were(filled, tmp_path):
    before, table = filled.rows(), filled.table()
    filled.pack()
    assert loose(tmp_path) == {"k1"}  # it was skipped, and may be made again
    assert sorted(path.stem for path in (tmp_path / "ranges").iterdir()) == ["k1"]
    for found in (filled, RowStore(tmp_path)):  # it also sees packs that came since it was made
        assert found.rows() == before
        pd.testing.assert_frame_equal(found.table(), table, check_dtype=False)
        for row in before:
            finished = found.finished(row.run_key)
            if row.status == "skipped":
                assert finished is None
            else:
                assert finished
                assert replace(finished, rounding_sd=row.rounding_sd) == row
        assert found.finished("k9") is None
    assert HistogramStore(tmp_path).ranges("k4") == {"k4": 2.0}
    assert HistogramStore(tmp_path).ranges("k1") == {"k1": 2.0}


def test_a_packed_run_keeps_the_rules_of_its_ranges(filled, tmp_path, full_row):
    store, rules = HistogramStore(tmp_path), {"images": "mse"}
    store.add_ranges("k9", '{"images": [-2.0, 2.0]}')
    store.add_rules("k9", rules)
    filled.add(full_row(run_key="k9"), {})
    filled.pack()
    assert not list((tmp_path / "ranges").glob("k9*"))
    assert HistogramStore(tmp_path).rules("k9") == rules
    assert HistogramStore(tmp_path).rules("k4") == {}
    filled.packs.restore({"k9", "k4"})
    assert [path.name for path in (tmp_path / "ranges").glob("*.rules.json")] == ["k9.rules.json"]


def test_a_packed_run_has_its_files_again_where_they_are_named(filled, tmp_path):
    before, content = filled.rows(), filled.path("k4").read_text()
    filled.pack()
    filled.packs.restore({"k4", "k1", "unknown"})
    assert loose(tmp_path) == {"k1", "k4"}
    assert filled.path("k4").read_text() == content
    assert (tmp_path / "ranges" / "k4.json").is_file()
    assert filled.rows() == before


def test_what_is_damaged_of_a_packed_run_is_written_again(filled, tmp_path):
    before = filled.rows()
    filled.pack()
    filled.packs.restore({"k4"})
    content = filled.path("k4").read_bytes()
    (tmp_path / "ranges" / "k4.json").write_text("[]")
    with pytest.raises(DataError, match=r"ranges/k4\.json is damaged"):
        HistogramStore(tmp_path).ranges("k4")
    filled.path("k4").write_text("{")
    filled.packs.restore({"k4"})
    assert filled.path("k4").read_bytes() == content
    assert HistogramStore(tmp_path).ranges("k4") == {"k4": 2.0}
    assert filled.rows() == before
    (tmp_path / "ranges" / "k4.json").unlink()
    times = filled.path("k4").stat().st_mtime_ns
    filled.packs.restore({"k4"})
    assert HistogramStore(tmp_path).ranges("k4") == {"k4": 2.0}
    assert filled.path("k4").stat().st_mtime_ns == times  # what is as it was is not written


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
    odd = full_row(run_key="odd", int8=2**60 + 1, started_at="2026-03-01")
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
    filled.packs.restore({"k0"})
    assert filled.finished("k0") == changed
    assert [row for row in filled.rows() if row.run_key == "k0"] == [changed]
    assert filled.table()["run_key"].value_counts().max() == 1


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_damaged_pack_is_set_aside_and_its_runs_are_made_again(
    filled, tmp_path, rows, capsys, share
):
    before = filled.rows()
    filled.pack()
    path = the_pack(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0xFF
    path.write_bytes(content if share < 0.5 else content[: int(share * len(content))])
    found = RowStore(tmp_path)
    assert [row.run_key for row in found.rows()] == ["k1"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} cannot be read (its content is not what its name says")
    assert line.endswith(f"; it was renamed to {path.name}.unreadable")
    assert found.table()["run_key"].tolist() == ["k1"]
    for row in rows:
        if not found.finished(row.run_key) and row.status != "skipped":
            assert found.read_file("ranges", row.run_key) is None
            found.add(row, {})
    found.pack()
    assert found.rows() == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", [True, False])
def test_a_pack_that_is_lost_after_it_was_opened_is_left_out(filled, tmp_path, capsys, gone):
    """As by another process that found it damaged."""
    filled.pack()
    path, found = the_pack(tmp_path), RowStore(tmp_path)
    assert found.finished("k0")
    path.unlink() if gone else path.write_bytes(b"PAR1")
    assert found.table()["run_key"].tolist() == ["k1"]
    assert not found.finished("k0")
    assert found.read_file("ranges", "k0") is None
    assert len(capsys.readouterr().err.splitlines()) == (0 if gone else 1)


def test_a_run_of_which_anything_is_damaged_is_not_packed(filled, tmp_path, capsys):
    (tmp_path / "ranges" / "k0.json").write_text("{}")
    filled.path("k2").write_text("{}")
    filled.pack()
    assert loose(tmp_path) == {"k1", "k0"}
    assert "renamed to k2.json.unreadable" in capsys.readouterr().err
    assert [row.run_key for row in filled.rows()] == ["k4", "k3", "k1", "k0"]
    with pytest.raises(DataError, match=r"ranges/k0\.json is damaged"):
        HistogramStore(tmp_path).ranges("k0")
    assert not filled.finished("k2")


PACKS = {
    "a key that leads elsewhere": lambda pack: with_column(pack, "run_key", "../../k"),
    "a key twice": lambda pack: pa.concat_tables([pack, pack]),
    "no key": lambda pack: pack.drop(["run_key"]),
    "no model": lambda pack: with_column(pack, "model", None),
    "a later version": lambda pack: with_column(pack, "schema_version", 99),
    "an unknown column": lambda pack: pack.append_column("new", pack["model"]),
    "a text for a number": lambda pack: with_column(pack, "int8", "much"),
}


@pytest.mark.parametrize("change", PACKS)
def test_a_whole_pack_that_is_not_of_this_version_is_one_line(filled, tmp_path, change):
    filled.pack()
    path = replace_pack(tmp_path, PACKS[change](pq.read_table(the_pack(tmp_path))))
    found = RowStore(tmp_path)
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            found.table()
        assert str(caught.value).startswith(f"{path} is not a pack of this version (")
        assert "\n" not in str(caught.value)
    assert path.exists()


def test_packs_from_before_a_column_and_of_an_older_schema_are_read(filled, tmp_path):
    before = {row.run_key: row for row in filled.rows()}
    filled.pack()
    content = pq.read_table(the_pack(tmp_path))
    replace_pack(tmp_path, content.drop(["harness_version", "losses"]))
    found = RowStore(tmp_path)
    assert {row.run_key: row for row in found.rows() if row.run_key != "k1"} == {
        key: replace(row, harness_version="") for key, row in before.items() if key != "k1"
    }
    assert found.read_file("losses", "k0") is None
    assert found.table().set_index("run_key")["harness_version"]["k0"] == ""
    place = content.schema.get_field_index("schema_version")
    old = content.set_column(place, "schema_version", pa.array([1] * len(content)))
    replace_pack(tmp_path, old.rename_columns({"exact_delta": "agreement_delta"}))
    found = RowStore(tmp_path)
    assert found.finished("k0").exact_delta == before["k0"].exact_delta
    assert found.table().set_index("run_key")["exact_delta"]["k0"] == before["k0"].exact_delta


def one_of_several_sweeps(folder: Path, rows: list[Row], sweep: int) -> None:
    """Runs of its own, and the end of a sweep after every few of them."""
    store = RowStore(folder)
    for number, row in enumerate(rows):
        HistogramStore(folder).add_ranges(row.run_key, f'{{"{row.run_key}": [-2.0, 2.0]}}')
        store.add(row, {})
        if number % 4 == sweep % 4:
            store.pack()
            keys = store.table()["run_key"].tolist()
            assert len(keys) == len(set(keys))
            mine = [own.run_key for own in rows[: number + 1]]
            assert set(mine) <= set(keys)
            assert all(store.finished(key) for key in mine)
            assert all(HistogramStore(folder).ranges(key) == {key: 2.0} for key in mine)
            store.packs.restore(mine[:2])


def test_eight_sweeps_pack_one_folder_at_once(tmp_path, rows):
    of_each = [
        [replace(rows[0], run_key=f"s{sweep}-{number}") for number in range(12)]
        for sweep in range(8)
    ]
    context = multiprocessing.get_context("fork")
    sweeps = [
        context.Process(target=one_of_several_sweeps, args=(tmp_path, own, sweep))
        for sweep, own in enumerate(of_each)
    ]
    for process in sweeps:
        process.start()
    for process in sweeps:
        process.join()
    assert [process.exitcode for process in sweeps] == [0] * 8
    expected = sorted((row for own in of_each for row in own), key=lambda row: row.run_key)
    assert RowStore(tmp_path).rows() == expected
    assert not list(tmp_path.rglob("*.unreadable"))


@pytest.mark.parametrize("moment", range(8))
def test_kill_9_at_any_moment_loses_doubles_and_tears_nothing(tmp_path, rows, capsys, moment):
    store = RowStore(tmp_path)
    for number in range(40):
        row = replace(rows[0], run_key=f"k{number}")
        HistogramStore(tmp_path).add_ranges(row.run_key, f'{{"{row.run_key}": [-2.0, 2.0]}}')
        store.add(row, {})
    before = store.rows()
    packing = multiprocessing.get_context("fork").Process(target=store.pack)
    packing.start()
    time.sleep(moment * 0.02)
    packing.kill()
    packing.join()
    for after in (RowStore(tmp_path), store):
        assert after.rows() == before
        assert after.table()["run_key"].tolist() == [row.run_key for row in before]
        for row in before:
            assert HistogramStore(tmp_path).ranges(row.run_key) == {row.run_key: 2.0}
        after.pack()
    assert store.rows() == before
    assert len(loose(tmp_path)) < packs.FEWEST_LOOSE
    assert capsys.readouterr().err == ""


def test_the_table_files_are_those_of_pandas(filled, tmp_path, rows):
    filled.pack()
    table = filled.table()
    write_table(table, tmp_path)
    assert (tmp_path / "table.csv").read_text() == table.to_csv(index=False)
    again = read_table(tmp_path)
    assert again["error"].tolist() == make_table(filled.rows())["error"].tolist()


def test_no_kind_of_file_is_called_as_a_column():
    assert len(set(packs.SCHEMA.names)) == len(packs.SCHEMA.names)
