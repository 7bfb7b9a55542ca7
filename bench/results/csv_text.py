"""A table as CSV text, identical to that of pandas but ten times as fast.

pandas and ``csv`` make a Python object of every cell: seconds for 100,000 rows of 130 columns. Here
Arrow writes one column at a time; only numbers that Arrow formats differently pass through Python.
"""

from __future__ import annotations

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PLAIN = (1e-4, 1e10)
"""In this range Arrow formats a float that is not whole as Python does."""

PART = 5_000
"""Rows per thread and step."""


def csv_of(table: pa.Table) -> bytes:
    """Header and rows; a missing value is an empty cell."""
    head = io.StringIO()
    csv.writer(head, lineterminator="\n").writerow(table.column_names)
    if not table.num_rows:
        return head.getvalue().encode()
    starts = range(0, table.num_rows, PART)
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        parts = pool.map(lambda start: _lines(table.slice(start, PART)), starts)
        return b"".join([head.getvalue().encode(), *parts])


def _lines(table: pa.Table) -> memoryview | bytes:
    """The rows as text. What is the same in all of them, as in most columns, is joined before it is
    repeated."""
    cells = [_cells(column.combine_chunks()) for column in table.columns]
    separated = [piece for own in cells for piece in (own, ",")]
    separated[-1] = "\n"
    pieces: list[str | pa.Array] = []
    for repeated, group in groupby(separated, lambda piece: isinstance(piece, str)):
        neighbours = list(group)
        pieces += ["".join(neighbours)] if repeated else neighbours
    if len(pieces) == 1:
        text = str(pieces[0]).encode()
        return text * int(table.num_rows)
    lines = pc.binary_join_element_wise(*pieces, "")
    _, offsets, content = lines.buffers()
    return memoryview(content)[: np.frombuffer(offsets, np.int32)[len(lines)]]


def _cells(column: pa.Array) -> str | pa.Array:
    """The text of every cell, or the one text of all."""
    if _is_constant(column):
        text = _cells_apart(column[:1])[0].as_py()
        return str(text)
    return _cells_apart(column)


def _is_constant(column: pa.Array) -> bool:
    if column.null_count:
        return bool(column.null_count == len(column))
    if pa.types.is_floating(column.type):
        column = column.view(pa.int64())  # 0.0 and -0.0 are equal
    return bool(pc.all(pc.equal(column, column[0])).as_py())


def _cells_apart(column: pa.Array) -> pa.Array:
    if pa.types.is_null(column.type):
        return pa.array([""] * len(column))
    if pa.types.is_floating(column.type):
        cells = _floats(column)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        cells = _texts(column)
    else:
        cells = column.cast(pa.string())
    return pc.fill_null(cells, "") if cells.null_count else cells


def _floats(column: pa.Array) -> pa.Array:
    column = pc.if_else(pc.is_nan(column), None, column)
    size = pc.abs(column)
    plain = pc.and_(pc.greater_equal(size, PLAIN[0]), pc.less(size, PLAIN[1]))
    others = pc.invert(pc.and_(plain, pc.not_equal(pc.floor(column), column)))
    values = column.filter(others).dictionary_encode()
    text = column.cast(pa.string())
    if not len(values):
        return text
    written = pa.array([repr(value) for value in values.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(text, others, written.take(values.indices))


def _texts(column: pa.Array) -> pa.Array:
    """Quoted where CSV requires it."""
    special = pc.match_substring_regex(column, '[",\r\n]')
    if not pc.any(special).as_py():
        return column
    doubled = pc.replace_substring(column.filter(special), '"', '""')
    quoted = pc.binary_join_element_wise('"', doubled, '"', "")
    return pc.replace_with_mask(column, special, quoted)
