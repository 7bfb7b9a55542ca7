"""The results table: rows as a data frame, as CSV and as Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import DataError
from bench.results.checksums import read_listed, write_listed
from bench.results.csv_text import csv_of
from bench.results.folder import SweepFolder
from bench.results.history import older_names, upgrade_table
from bench.results.row import COLUMNS, Row


def make_table(rows: Sequence[Row]) -> pd.DataFrame:
    """One line per row, one column per field of ``Row``, in the schema's order."""
    table = pd.DataFrame(
        {name: [getattr(row, name) for row in rows] for name in COLUMNS},
        dtype=None if rows else object,
    )
    return _doubt_saturated(table)


def read_packed(packed: pa.Table) -> pd.DataFrame:
    """The same for rows as Arrow tables, as packs return them."""
    return _doubt_saturated(packed.to_pandas())


def write_table(table: pd.DataFrame, folder: Path) -> None:
    """Write ``table.csv`` and ``table.parquet`` under ``folder``."""
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    with ThreadPoolExecutor(1) as pool:
        parquet = pool.submit(_parquet_of, arrow)
        write_listed(SweepFolder(folder).table_csv, csv_of(arrow))
        write_listed(SweepFolder(folder).table_parquet, parquet.result())


def _parquet_of(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read_table(folder: Path) -> pd.DataFrame:
    """Read ``folder/table.csv``, also of an older schema.

    Raises DataError if it is missing or not such a table.
    """
    path = SweepFolder(folder).table_csv
    if not path.is_file():
        raise DataError(f"{path} does not exist", "Run a sweep first, or name its folder")
    content = read_listed(path, "Run the sweep again: it writes the table again from its rows")
    text = [name for name, column in COLUMNS.items() if column.kind == "text"]
    try:
        table = pd.read_csv(
            io.BytesIO(content),
            dtype={old: "str" for name in text for old in older_names(name)},
            keep_default_na=False,
            na_values=[""],
            float_precision="round_trip",
        )
    except ValueError as error:  # from pandas, for a file that is not a CSV
        raise DataError(f"{path} is not a table ({error})", "Run the sweep again") from error
    try:
        table = upgrade_table(table)
    except ValueError as error:
        raise DataError(
            f"{path} cannot be read ({error})", "Use the version that wrote it"
        ) from error
    missing = [name for name in COLUMNS if name not in table]
    if any(COLUMNS[name].required for name in missing):
        raise DataError(f"{path} lacks the columns {', '.join(missing)}", "Run the sweep again")
    _check_numbers(table, path)
    table = _complete(table)
    table[text] = table[text].fillna("")
    return _doubt_saturated(table)


def _check_numbers(table: pd.DataFrame, path: Path) -> None:
    """Raise DataError for text in a column of numbers."""
    for name, column in COLUMNS.items():
        if column.kind == "text" or name not in table or table[name].dtype != object:
            continue
        values = table[name].dropna()
        wrong = values[pd.to_numeric(values, errors="coerce").isna()]
        if len(wrong):
            what = f"{path}: {name} is {str(wrong.iloc[0])!r}, not a number"
            raise DataError(what, "Run the sweep again")


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    """Fill missing columns of an older sweep with their defaults, as for its rows."""
    missing = [name for name in COLUMNS if name not in table]
    return table.assign(**{name: COLUMNS[name].default for name in missing})


def _doubt_saturated(table: pd.DataFrame) -> pd.DataFrame:
    """Mark rows as ``unfaithful`` if their accuracy comes from int8 kernels without VNNI. Older
    versions did not probe whether these kernels saturate."""
    wrong = (
        (table["status"] == "ok")
        & (table["accuracy_by"] == "")
        & table["engine"].isin(("openvino", "onnxruntime"))
        & table["hardware"].str.contains("no VNNI", regex=False)
    )
    table.loc[wrong, "status"] = "unfaithful"
    table.loc[wrong, "error"] = (
        "int8 kernels saturate on a processor without VNNI, and gave this accuracy. Run the sweep "
        "again"
    )
    return table
