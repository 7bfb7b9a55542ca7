"""The table: as CSV and as Parquet it says what the rows say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from bench.cache import write_atomically
from bench.errors import DataError
from bench.results import checksums
from bench.results.csv_text import csv_of
from bench.results.row import COLUMNS
from bench.results.table import make_table, read_table, write_table


@pytest.fixture
def table(full_row) -> pd.DataFrame:
    return make_table(
        [
            full_row(run_key="a", int8=0.1 + 0.2),
            full_row(run_key="b", measured=False, status="skipped", error='no, "really"\nnot'),
        ]
    )


def test_one_line_a_row_one_column_a_field(table):
    assert list(table.columns) == list(COLUMNS)
    assert list(table["run_key"]) == ["a", "b"]
    assert list(make_table([]).columns) == list(COLUMNS)


def test_round_trip_through_csv(tmp_path, table):
    write_table(table, tmp_path)
    found = read_table(tmp_path)
    pd.testing.assert_frame_equal(found, table, check_dtype=False)
    assert found["int8"][0] == 0.1 + 0.2  # to the last bit
    assert pd.isna(found["int8"][1])


def test_round_trip_through_parquet(tmp_path, table):
    write_table(table, tmp_path)
    found = pd.read_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(found, table, check_dtype=False)


def test_texts_that_look_like_numbers_stay_texts(tmp_path, full_row):
    """A key may be all digits, and a version end in a zero."""
    texts = {
        "run_key": "1234567890123456",
        "git_commit": "12e456789012",
        "engine_version": "1.20",
        "calibrator_params": "",
        "plan": "nan",
        "model": "None",
        "error": "NA",
    }
    write_table(make_table([full_row(**texts)]), tmp_path)
    for found in (read_table(tmp_path), pd.read_parquet(tmp_path / "table.parquet")):
        assert {name: found[name][0] for name in texts} == texts


def test_empty_texts_are_empty_and_not_missing(tmp_path, full_row):
    write_table(make_table([full_row(error="", latency_note="")]), tmp_path)
    found = read_table(tmp_path)
    assert (found["error"][0], found["latency_note"][0]) == ("", "")


def test_a_missing_table(tmp_path):
    with pytest.raises(DataError, match=r"table\.csv does not exist\. Run a sweep first"):
        read_table(tmp_path / "nowhere")


def test_a_table_that_lacks_columns(tmp_path, table):
    table.drop(columns=["int8", "plan"]).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match="lacks the columns plan, int8"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00\x01\x80" * 20, b'a,b\n"1,2\n3', b"a\n1\n2,3,4\n"],
    ids=["empty", "binary", "open quote", "ragged"],
)
def test_a_file_that_is_no_table(tmp_path, content):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path)
    assert str(tmp_path / "table.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_what_was_written_is_told(tmp_path, table):
    write_table(table, tmp_path)
    path = tmp_path / "table.csv"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole.replace(b"0.3", b"0.4", 1), b"", b"a\n1\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"table\.csv is damaged .*Run the sweep again"):
            read_table(tmp_path)
    write_table(table, tmp_path)
    assert len(read_table(tmp_path)) == 2


def test_a_table_is_readable_whenever_its_writers_were_killed(tmp_path, table, monkeypatch):
    write_table(table, tmp_path)

    def killed(path: Path, content: bytes) -> None:
        if path.name != "checksums.json":
            raise KeyboardInterrupt
        write_atomically(path, content)

    monkeypatch.setattr(checksums, "write_atomically", killed)
    for changed in (table[:1], table[1:], table.assign(int8=0.5)):
        with pytest.raises(KeyboardInterrupt):
            write_table(changed, tmp_path)
        assert len(read_table(tmp_path)) == 2
    monkeypatch.undo()
    write_table(table[:1], tmp_path)
    assert len(read_table(tmp_path)) == 1


def test_a_table_is_written_again_only_if_it_changed_or_is_damaged(tmp_path, table):
    csv = tmp_path / "table.csv"
    write_table(table, tmp_path)
    content, first = csv.read_bytes(), csv.stat().st_ino
    write_table(table, tmp_path)
    assert csv.stat().st_ino == first
    csv.write_bytes(content[:-1])
    write_table(table, tmp_path)
    assert csv.read_bytes() == content
    write_table(table[:1], tmp_path)
    assert len(read_table(tmp_path)) == 1


def test_a_folder_from_before_there_were_checksums_is_read_and_written(tmp_path, table):
    table.to_csv(tmp_path / "table.csv", index=False)
    assert len(read_table(tmp_path)) == 2
    write_table(table[:1], tmp_path)
    assert len(read_table(tmp_path)) == 1


def test_a_damaged_list_is_told_and_stops_nobody(tmp_path, table, capsys):
    write_table(table, tmp_path)
    (tmp_path / "checksums.json").write_text("{")
    assert len(read_table(tmp_path)) == 2
    assert "checksums.json is damaged" in capsys.readouterr().err
    write_table(table, tmp_path)
    capsys.readouterr()
    read_table(tmp_path)
    assert capsys.readouterr().err == ""


def test_a_text_where_a_number_belongs_is_told(tmp_path, table):
    table.assign(int8=["much", 0.5]).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match=r"table\.csv: int8 is 'much', not a number"):
        read_table(tmp_path)


NUMBERS = [1.0, -0.0, 1e-7, 0.1, 1e22, 12345678901.5, None, float("inf")]
TEXTS = ["a,b", 'q"x', "l\nm", "", " ", None, "\u00fc", "plain"]


@pytest.mark.parametrize(
    "columns",
    [
        {"number": NUMBERS, "text": TEXTS, "none": [None] * 8, "whole": range(8)},
        {"one": [0.1] * 8, "text": TEXTS, "quoted": ['a,"b"'] * 8, "two": [3] * 8},
        {"zeros": [0.0, -0.0] * 4, "one": ["x"] * 8},
        {"one": ["x"] * 8, "empty": [""] * 8, "none": [None] * 8, "nan": [float("nan")] * 8},
    ],
)
def test_csv_text_is_that_of_pandas(columns: dict[str, Sequence[object]]) -> None:
    table = pd.DataFrame(columns)
    written = csv_of(pa.Table.from_pandas(table, preserve_index=False)).decode()
    assert written == table.to_csv(index=False)
