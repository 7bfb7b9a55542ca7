"""Finished runs of a large sweep, packed: rows and all files of their runs in one Parquet file.

While runs are few, each has a file for its row and some beside it: easy to read, and safe to write
from many processes. A file takes 4 KB of the disk at least, and reading 100,000 of them takes
longer than all that is done with them. So where a folder holds FEWEST_LOOSE finished runs or more,
they are packed when the sweep ends: 10,000 runs take 78 MB in place of 494 MB.

A pack never changes, and its name is a hash of its content, which is checked. It is whole on the
disk, and was read back, before the first loose file is removed: a kill in between leaves runs in
both places, which are the same; the loose one counts, and the next packing removes it. A reader
lists loose files first, packs after: a run that moves meanwhile is seen twice, never missed. Runs
that are skipped may be made again, so they stay loose, as do rows that Parquet cannot hold.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import Timeout

from bench.cache import hash_file, only_one, write_atomically
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.row import COLUMNS, Row

FEWEST_LOOSE = 1_000
MOST_IN_PACK = 10_000
ROW_GROUP = 500
HELD = 8
"""Columns of row groups that are held to read from: those of one model lie together."""

DIGITS = 20
"""Of the hash in a pack's name."""

RAW = "raw"
"""The column of the raw values behind a row's medians, as JSON."""

FILES = ("judged", "losses", "ranges", "calibration_cache", "layers")
"""The files of a run beside its row, by their names in ``SweepFolder``; a column each."""

_FIX = "Put back a copy of it, or move it away and run the sweep again"
_ARROW = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}

ROW_SCHEMA = pa.schema([(name, _ARROW[column.kind]) for name, column in COLUMNS.items()])
SCHEMA = pa.schema([*ROW_SCHEMA, (RAW, pa.string()), *((name, pa.binary()) for name in FILES)])


@dataclass(frozen=True)
class LooseRun:
    """A run whose row has a file of its own."""

    path: Path
    row: Row


@dataclass(frozen=True)
class Packs:
    """The packs under a sweep's ``folder``; there may be none."""

    folder: Path
    _index: dict[Path, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)
    _held: OrderedDict[tuple[Path, str, int], pa.ChunkedArray] = field(
        default_factory=OrderedDict, repr=False, compare=False
    )

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def read(self, kind: str, key: str) -> Any:
        """A run's file of this kind, one of ``FILES``; None where no pack has one."""
        found = self._find(key)
        if found is None:
            return None
        path, place = found
        return self._column(path, kind, place // ROW_GROUP)[place % ROW_GROUP].as_py()

    def read_file(self, kind: str, key: str) -> bytes | None:
        """The same, loose or packed."""
        with suppress(FileNotFoundError):
            return run_file(self.folder, kind, key).read_bytes()
        packed: bytes | None = self.read(kind, key)
        return packed

    def has_file(self, kind: str, key: str) -> bool:
        """Whether a run has such a file, loose or packed."""
        return run_file(self.folder, kind, key).is_file() or self.read(kind, key) is not None

    def restore(self, keys: Collection[str]) -> None:
        """Write the files of these runs again, as they were before they were packed."""
        for row in rows_of(self.table() if any(key in self for key in keys) else None):
            if row.run_key in keys and row.run_key in self:
                for kind in FILES:
                    content = self.read(kind, row.run_key)
                    if content is not None:
                        write_atomically(run_file(self.folder, kind, row.run_key), content)
                raw = json.loads(self.read(RAW, row.run_key) or "{}")
                write_row(SweepFolder(self.folder).row(row.run_key), row, raw)

    def table(self, without: Collection[str] = ()) -> pa.Table | None:
        """The rows of all packs, each once, but for the runs ``without``; None where there are
        none."""
        parts, seen = [], set(without)
        for path, keys in self._read_index().items():
            names = [name for name in pq.read_schema(path).names if name not in (RAW, *FILES)]
            part = _read(path, names)
            fresh = [key not in seen for key in keys]
            parts.append(part if all(fresh) else part.filter(pa.array(fresh)))
            seen |= keys.keys()
        if not parts:
            return None
        return pa.concat_tables(parts, promote_options="permissive")

    def _find(self, key: str) -> tuple[Path, int] | None:
        for path, keys in self._read_index().items():
            if key in keys:
                return path, keys[key]
        return None

    def _read_index(self) -> dict[Path, dict[str, int]]:
        """Pack -> its runs and their places; a pack that came since the last call is read now."""
        for path in sorted(SweepFolder(self.folder).packs.glob("*.parquet")):
            if path not in self._index:
                _verify(path)
                column = _read(path, ["run_key"])["run_key"]
                self._index[path] = {key: place for place, key in enumerate(column.to_pylist())}
        return self._index

    def _column(self, path: Path, kind: str, group: int) -> pa.ChunkedArray:
        name = path, kind, group
        if name not in self._held:
            self._held[name] = _read_group(path, kind, group)
            if len(self._held) > HELD:
                self._held.popitem(last=False)
        return self._held[name]


def write_row(path: Path, row: Row, raw: Mapping[str, Sequence[float]]) -> None:
    """A row's file, as ``bench.results.store`` reads it."""
    text = json.dumps({"row": row.to_json(), "raw": dict(raw)}, indent=1)
    write_atomically(path, text.encode())


def pack(folder: Path, loose: Sequence[LooseRun]) -> None:
    """Move finished runs into packs, if they are many; while another process packs, do nothing."""
    if len(loose) < FEWEST_LOOSE:
        return
    lock = only_one(SweepFolder(folder).packs / ".lock")
    with suppress(Timeout), lock.acquire(timeout=0):
        packs = Packs(folder)
        again = [run for run in loose if run.row.run_key in packs]
        packed = {row.run_key: row for row in rows_of(packs.table())} if again else {}
        for run in again:
            if packed[run.row.run_key] == run.row:  # a packing before this one was killed
                _remove(folder, run)
        fresh = sorted(_packable(loose, packs), key=_likeness)
        for start in range(0, len(fresh), MOST_IN_PACK):
            _pack(folder, fresh[start : start + MOST_IN_PACK])


def rows_of(table: pa.Table | None) -> list[Row]:
    """The rows of a table as ``Packs.table`` gives it."""
    return [] if table is None else [Row.from_json(values) for values in table.to_pylist()]


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as Arrow's table; raises what Arrow raises for a value that its column cannot hold."""
    return pa.table(
        {name: [getattr(row, name) for row in rows] for name in ROW_SCHEMA.names}, ROW_SCHEMA
    )


def _packable(loose: Sequence[LooseRun], packs: Packs) -> list[LooseRun]:
    """The runs that are finished, new, and what their files' names say."""
    runs = [
        run
        for run in loose
        if run.row.status != "skipped"
        and run.row.run_key == run.path.stem
        and run.row.run_key not in packs
    ]
    return runs if _fit(runs) else [run for run in runs if _fit([run])]


def _fit(runs: Sequence[LooseRun]) -> bool:
    """Whether Parquet gives these rows back as they are."""
    rows = [run.row for run in runs]
    try:
        return rows_of(table_of(rows)) == rows
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return False


def _likeness(run: LooseRun) -> tuple[object, ...]:
    """Runs that share most of their content come one after the other."""
    row = run.row
    asked = (row.model, row.dataset, row.engine, row.plan, row.calibrator, row.calibration_size)
    return (*asked, row.run_key)


def _pack(folder: Path, runs: Sequence[LooseRun]) -> None:
    buffer = io.BytesIO()
    _write(buffer, folder, runs)
    content = buffer.getvalue()
    path = SweepFolder(folder).pack(hashlib.sha256(content).hexdigest()[:DIGITS])
    write_atomically(path, content)
    _verify(path)
    for run in runs:
        _remove(folder, run)


def _write(file: BinaryIO, folder: Path, runs: Sequence[LooseRun]) -> None:
    with pq.ParquetWriter(
        file, SCHEMA, compression="zstd", compression_level=6,
        use_dictionary=ROW_SCHEMA.names, data_page_size=8 << 20,
    ) as writer:  # fmt: skip
        for start in range(0, len(runs), ROW_GROUP):
            own = runs[start : start + ROW_GROUP]
            columns = dict(zip(ROW_SCHEMA.names, table_of([run.row for run in own]), strict=True))
            columns[RAW] = pa.array([_raw(run.path) for run in own])
            for kind in FILES:
                paths = [run_file(folder, kind, run.row.run_key) for run in own]
                columns[kind] = pa.array([_content(path) for path in paths], pa.binary())
            writer.write_table(pa.table(columns, SCHEMA), row_group_size=ROW_GROUP)


def run_file(folder: Path, kind: str, key: str) -> Path:
    """Where a run's file lies while it is not packed."""
    path: Path = getattr(SweepFolder(folder), kind)(key)
    return path


def _raw(path: Path) -> str:
    return json.dumps(json.loads(path.read_text()).get(RAW, {}))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _remove(folder: Path, run: LooseRun) -> None:
    for kind in FILES:
        run_file(folder, kind, run.row.run_key).unlink(missing_ok=True)
    run.path.unlink(missing_ok=True)


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(columns)


def _read_group(path: Path, kind: str, group: int) -> pa.ChunkedArray:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, [kind])[kind]


def _verify(path: Path) -> None:
    """Raise DataError for a pack that is not what was written."""
    if not hash_file(path).startswith(path.stem):
        raise DataError(f"{path} is damaged: its content is not what its name says", _FIX)
