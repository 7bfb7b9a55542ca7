"""Finished runs of a large sweep, packed: rows and all files of their runs in one Parquet file.

While runs are few, each has a file for its row and some beside it: easy to read, and safe to write
from many processes. A file takes 4 KB of the disk at least, and reading 100,000 of them takes
longer than all that is done with them. So where a folder holds FEWEST_LOOSE finished runs or more,
they are packed when the sweep ends: 10,000 runs take 78 MB in place of 494 MB.

A pack never changes, and its name is a hash of its content, which is checked when it is opened. A
damaged pack is renamed like a damaged row, and its runs are repeated. A run with a damaged file is
not packed: the reader of that file reports it.

A pack is whole on the disk, and was read back, before the first loose file is removed: a kill in
between leaves runs in both places, which are the same; the loose one counts, and the next packing
removes it. A reader lists loose files first, packs after: a run that moves meanwhile is seen twice,
never missed. Runs that are skipped or raced may be made again, so they stay loose, as do rows that
Parquet cannot hold.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import Timeout

from bench.cache import hash_file, only_one, write_atomically
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.history import SCHEMA_VERSION
from bench.results.loose import (
    KINDS,
    Kind,
    LooseRun,
    OtherVersionError,
    file_of_run,
    read_file,
    read_or_set_aside,
    read_run,
    set_aside,
    write_run,
)
from bench.results.row import COLUMNS, KEY_PATTERN, OPTIONAL, Row
from bench.sealed import DamagedError

T = TypeVar("T")

FEWEST_LOOSE = 1_000
MOST_IN_PACK = 10_000
ROW_GROUP = 2_000
HELD = 4
"""Row groups kept in memory for reading: those of one model are adjacent."""

DIGITS = 20
"""Digits of the hash in a pack's name."""

RAW = "raw"
"""The column of the raw values behind a row's medians, as JSON."""

_ARROW = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}

ROW_SCHEMA = pa.schema([(name, _ARROW[column.kind]) for name, column in COLUMNS.items()])
SCHEMA = pa.schema([*ROW_SCHEMA, (RAW, pa.string()), *((kind, pa.binary()) for kind in KINDS)])

UNFIT = (pa.ArrowException, OverflowError, TypeError, ValueError, KeyError)
"""The exceptions for values that a column cannot hold, and for a pack with other columns."""

Place = tuple[int, int]
"""A row group, and a row in it."""


class Packs:
    """The packs under a sweep's ``folder``; there may be none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[Path, dict[str, Place]] = {}
        self._held: OrderedDict[tuple[Path, str, int], pa.Table] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def row(self, key: str) -> Row | None:
        """A run's row; None where no pack has it."""
        cells = self._cells("row", key, _read_rows)
        return None if cells is None else rows_of(cells)[0]

    def read(self, kind: Kind, key: str) -> bytes | None:
        """A run's file of this kind; None where no pack has one."""
        content: bytes | None = self._cell(kind, key)
        return content

    def rows(self, without: Collection[str] = ()) -> list[Row]:
        """The rows of all packs, each once, except the runs ``without``."""
        return rows_of(self.table(without))

    def table(self, without: Collection[str] = ()) -> pa.Table:
        """The same as a table of ``ROW_SCHEMA``."""
        parts, seen = [ROW_SCHEMA.empty_table()], set(without)
        with ThreadPoolExecutor(pa.cpu_count()) as pool:
            read = list(pool.map(lambda path: self._open(path, _read_rows), list(self._index())))
        for part in read:
            if part is not None:
                keys = part["run_key"].to_pylist()
                fresh = [key not in seen for key in keys]
                parts.append(part if all(fresh) else part.filter(pa.array(fresh)))
                seen.update(keys)
        return pa.concat_tables(parts)

    def restore(self, keys: Collection[str]) -> None:
        """Write the files of these runs again, as they were before packing; a different loose row
        stays."""
        for key in sorted(keys):
            row = self.row(key)
            loose = read_or_set_aside(SweepFolder(self.folder).row(key), read_run)
            if row is not None and (loose is None or loose.row == row):
                for kind in KINDS:
                    path, content = file_of_run(self.folder, kind, key), self.read(kind, key)
                    if content is not None and not (
                        path.is_file() and path.read_bytes() == content
                    ):
                        write_atomically(path, content)
                if loose is None:
                    write_run(self.folder, row, json.loads(self._cell(RAW, key) or "{}"))

    def _find(self, key: str) -> tuple[Path, Place] | None:
        for path, places in self._index().items():
            if key in places:
                return path, places[key]
        return None

    def _index(self) -> dict[Path, dict[str, Place]]:
        """Pack -> its runs and their places; new packs are opened."""
        paths = sorted(SweepFolder(self.folder).packs.glob("*.parquet"))
        fresh = [path for path in paths if path not in self._places]
        if fresh:
            with ThreadPoolExecutor(pa.cpu_count()) as pool:
                self._places.update(zip(fresh, pool.map(self._places_in, fresh), strict=True))
        return self._places

    def _places_in(self, path: Path) -> dict[str, Place]:
        if _is_whole(path):
            return self._open(path, _read_places) or {}
        self._leave_out(path)
        return {}

    def _cell(self, column: str, key: str) -> Any:
        cells = self._cells(column, key, lambda file, group: _read_column(file, column, group))
        return None if cells is None else cells[column][0].as_py()

    def _cells(
        self, name: str, key: str, read: Callable[[pq.ParquetFile, int], pa.Table]
    ) -> pa.Table | None:
        """The run's line of what ``read`` finds in its row group; ``name`` says what that is."""
        location = self._find(key)
        if location is None:
            return None
        path, (group, place) = location
        held = self._held.pop((path, name, group), None)
        if held is None:
            held = self._open(path, lambda file: read(file, group))
        if held is None:
            return None
        self._held[path, name, group] = held
        if len(self._held) > HELD:
            self._held.popitem(last=False)
        return held.slice(place, 1)

    def _open(self, path: Path, read: Callable[[pq.ParquetFile], T]) -> T | None:
        """What is read from a pack; None where it has been damaged since it was checked. Raises
        DataError for an intact pack of another version."""
        try:
            with pq.ParquetFile(path) as file:
                return read(file)
        except (OSError, *UNFIT) as error:
            if not _is_whole(path):
                self._leave_out(path)
                return None
            if isinstance(error, OSError):
                raise
            raise OtherVersionError(path, "a pack", error) from error

    def _leave_out(self, path: Path) -> None:
        self._places[path] = {}
        if path.exists():  # otherwise another process has reported it
            reason = "its content is not what its name says"
            set_aside(path, reason, lambda: not _is_whole(path))


def pack(folder: Path, loose: Sequence[LooseRun]) -> None:
    """Move finished runs into packs, if there are many; do nothing while another process packs."""
    if len(loose) < FEWEST_LOOSE:
        return
    lock = only_one(SweepFolder(folder).packs / ".lock")
    with suppress(Timeout), lock.acquire(timeout=0):
        packs = Packs(folder)
        again = [run for run in loose if run.row.run_key in packs]
        packed = {row.run_key: row for row in packs.rows()} if again else {}
        for run in again:
            if packed.get(run.row.run_key) == run.row:  # an earlier packing was killed
                _remove(folder, run)
        fresh = [
            run
            for run in loose
            if run.row.status not in ("skipped", "raced") and run.row.run_key not in packs
        ]
        fitting = fresh if _fit(fresh) else [run for run in fresh if _fit([run])]
        fitting.sort(key=_likeness)
        for start in range(0, len(fitting), MOST_IN_PACK):
            _pack(folder, fitting[start : start + MOST_IN_PACK])


def rows_of(table: pa.Table) -> list[Row]:
    """The rows of a table as ``Packs.table`` gives it."""
    return [Row.from_json(values) for values in table.to_pylist()]


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as Arrow's table; raises one of ``UNFIT`` for a value that its column cannot hold."""
    return pa.table(
        {name: [getattr(row, name) for row in rows] for name in ROW_SCHEMA.names}, ROW_SCHEMA
    )


def _fit(runs: Sequence[LooseRun]) -> bool:
    """Whether Parquet gives these rows back as they are."""
    rows = [run.row for run in runs]
    try:
        return rows_of(table_of(rows)) == rows
    except UNFIT:
        return False


def _likeness(run: LooseRun) -> tuple[object, ...]:
    """Runs that share most of their content come one after the other."""
    row = run.row
    asked = (row.model, row.dataset, row.engine, row.plan, row.calibrator, row.calibration_size)
    return (*asked, row.run_key)


def _pack(folder: Path, runs: Sequence[LooseRun]) -> None:
    buffer = io.BytesIO()
    packed = _write(buffer, folder, runs)
    if not packed:
        return
    content = buffer.getvalue()
    path = SweepFolder(folder).pack(hashlib.sha256(content).hexdigest()[:DIGITS])
    write_atomically(path, content)
    if not _is_whole(path):
        raise DataError(f"{path} differs from what was written", "Its runs stay in their files")
    for run in packed:
        _remove(folder, run)


def _write(file: BinaryIO, folder: Path, runs: Sequence[LooseRun]) -> list[LooseRun]:
    """Write a pack of the intact runs, and return these."""
    packed: list[LooseRun] = []
    whole = ((run, files) for run in runs if (files := _files_of(folder, run)) is not None)
    with pq.ParquetWriter(
        file, SCHEMA, compression="zstd", compression_level=6,
        use_dictionary=ROW_SCHEMA.names, data_page_size=8 << 20,
    ) as writer:  # fmt: skip
        while chunk := list(islice(whole, ROW_GROUP)):
            part = [run for run, _ in chunk]
            columns = dict(zip(ROW_SCHEMA.names, table_of([run.row for run in part]), strict=True))
            columns[RAW] = pa.array([json.dumps(run.raw) for run in part])
            for kind in KINDS:
                columns[kind] = pa.array([files[kind] for _, files in chunk], pa.binary())
            writer.write_table(pa.table(columns, SCHEMA), row_group_size=ROW_GROUP)
            packed += part
    return packed


def _files_of(folder: Path, run: LooseRun) -> dict[Kind, bytes | None] | None:
    """The files beside a run's row; None where one of them is damaged."""
    try:
        return {kind: read_file(folder, kind, run.row.run_key, run.files) for kind in KINDS}
    except DamagedError:
        return None


def _remove(folder: Path, run: LooseRun) -> None:
    """The row last: by it the next packing sees what a kill has left."""
    for kind in KINDS:
        file_of_run(folder, kind, run.row.run_key).unlink(missing_ok=True)
    run.path.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    """Whether the file exists with the written content."""
    try:
        return path.name == f"{hash_file(path)[:DIGITS]}.parquet"
    except FileNotFoundError:
        return False


def _read_places(file: pq.ParquetFile) -> dict[str, Place]:
    """Raises ValueError for a key that cannot name a file."""
    places: dict[str, Place] = {}
    for group in range(file.num_row_groups):
        part = file.read_row_group(group, ["run_key", "schema_version"])
        if pc.max(part["schema_version"]).as_py() > SCHEMA_VERSION:
            raise ValueError(f"schema version {pc.max(part['schema_version'])}")
        for place, key in enumerate(part["run_key"].to_pylist()):
            if not re.fullmatch(KEY_PATTERN, key) or key in places:
                raise ValueError(f"run_key {key!r}")
            places[key] = group, place
    return places


def _read_rows(file: pq.ParquetFile, group: int | None = None) -> pa.Table:
    """Rows as of today, those of all groups or one; raises one of ``UNFIT``."""
    names = [name for name in file.schema_arrow.names if name not in (RAW, *KINDS)]
    part = file.read(names) if group is None else file.read_row_group(group, names)
    if set(names) <= set(ROW_SCHEMA.names) and _is_all(part["schema_version"], SCHEMA_VERSION):
        for name in ROW_SCHEMA.names:
            if name not in names:  # a pack that is older than the column
                default = [COLUMNS[name].default] * len(part)
                part = part.append_column(name, pa.array(default, ROW_SCHEMA.field(name).type))
        part = part.select(ROW_SCHEMA.names).cast(ROW_SCHEMA)
    else:
        part = table_of(rows_of(part))
    empty = [name for name in ROW_SCHEMA.names if name not in OPTIONAL and part[name].null_count]
    if empty:
        raise ValueError(f"{empty[0]} has no value")
    return part


def _is_all(column: pa.ChunkedArray, value: int) -> bool:
    return bool(pc.all(pc.equal(column, value)).as_py())


def _read_column(file: pq.ParquetFile, name: str, group: int) -> pa.Table:
    """A column of nulls if the pack is older than the column."""
    if name in file.schema_arrow.names:
        return file.read_row_group(group, [name])
    return pa.table({name: pa.nulls(file.metadata.row_group(group).num_rows, pa.binary())})
