"""Where finished runs are stored: one JSON file per run, written atomically; many runs in packs.

Only skipped runs, raced ones outside of a race, and runs with an unreadable file are repeated: see
``bench.results.loose`` and ``bench.results.packs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from statistics import stdev
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bench.cache import write_atomically
from bench.results import loose
from bench.results.folder import SweepFolder
from bench.results.loose import KINDS, Kind, LooseRun, read_or_set_aside, read_run, write_run
from bench.results.packs import FEWEST_LOOSE, UNFIT, Packs, pack, rows_of, table_of
from bench.results.row import Row
from bench.results.table import make_table, read_packed
from bench.sealed import DamagedError, from_sealed_json, to_sealed_json

ORDER = ("started_at", "run_key")
"""The order of rows, loose or packed."""


@dataclass(frozen=True)
class RowStore:
    """The runs of one sweep under ``folder``: rows, and the files beside them.

    A row's file holds the row, the raw values behind its medians (so that a number can be drawn or
    checked again), and the checksums of the run's other files. Killing a sweep loses at most the
    run in progress.
    """

    folder: Path

    @cached_property
    def packs(self) -> Packs:
        return Packs(self.folder)

    def path(self, key: str) -> Path:
        return SweepFolder(self.folder).row(key)

    def finished(self, key: str) -> Row | None:
        """The row of a run that need not be repeated; one that lost a race (``raced``) only in
        another race. None if there is none, if it was skipped (skipped runs are
        retried), and if a file beside it is damaged: its row is then renamed,
        so that both are made again.

        Raises DataError for a row of another version.
        """
        run = read_or_set_aside(self.path(key), self._read_whole)
        row = self.packs.row(key) if run is None else run.row  # it may have been packed meanwhile
        return None if row is None or row.status == "skipped" else row

    def add(self, row: Row, raw: Mapping[str, Sequence[float]]) -> None:
        """Store a row, the last of a run's files."""
        write_run(self.folder, row, raw)

    def rows(self) -> list[Row]:
        """Every finished run, in the order of its start; DataError for one of another version."""
        loose = [run.row for run in self._loose()]
        spreads = self._spreads()
        rows = [
            replace(row, rounding_sd=spreads[row.run_key]) if row.run_key in spreads else row
            for row in (*loose, *self.packs.rows({row.run_key for row in loose}))
        ]
        return sorted(rows, key=attrgetter(*ORDER))

    def table(self) -> pd.DataFrame:
        """``make_table`` of all rows, without one object per packed row."""
        loose = [run.row for run in self._loose()]
        packed = self.packs.table({row.run_key for row in loose})
        if not len(packed):
            return self._with_spreads(make_table(sorted(loose, key=attrgetter(*ORDER))))
        try:
            together = pa.concat_tables([packed, table_of(loose)])
        except UNFIT:  # a value that a file's column cannot hold
            rows = sorted([*loose, *rows_of(packed)], key=attrgetter(*ORDER))
            return self._with_spreads(make_table(rows))
        return self._with_spreads(read_packed(_in_order(together)))

    def pack(self) -> None:
        """Pack finished runs if there are many; see ``bench.results.packs``."""
        if sum(1 for _ in SweepFolder(self.folder).rows.glob("*.json")) >= FEWEST_LOOSE:
            pack(self.folder, list(self._loose()))

    def has_file(self, kind: Kind, key: str) -> bool:
        """Whether a run has such a file beside its row."""
        path = loose.file_of_run(self.folder, kind, key)
        return path.is_file() or self.packs.read(kind, key) is not None

    def read_file(self, kind: Kind, key: str) -> bytes | None:
        """A run's file beside its row, loose or packed; None where it has none.

        Raises DamagedError where its content differs from the checksum in its row or its pack. An
        older row lists no checksums.
        """
        listed = loose.listed_files(self.folder, key)
        if listed is None and key in self.packs:
            return self.packs.read(kind, key)
        content = loose.read_file(self.folder, kind, key, listed or {})
        return self.packs.read(kind, key) if content is None else content

    def _read_whole(self, path: Path, content: bytes) -> LooseRun:
        """As ``read_run``, with ValueError where a file beside the row is damaged."""
        run = read_run(path, content)
        try:
            for kind in KINDS:
                loose.read_file(self.folder, kind, run.row.run_key, run.files)
        except DamagedError as error:
            raise ValueError(str(error)) from error
        return run

    def _loose(self) -> Iterator[LooseRun]:
        for path in sorted(SweepFolder(self.folder).rows.glob("*.json")):
            run = read_or_set_aside(path, read_run)
            if run is not None:
                yield run

    def _spreads(self) -> dict[str, float | None]:
        paths = sorted(SweepFolder(self.folder).roundings.glob("*.json"))
        return {path.stem: read_or_set_aside(path, _spread) for path in paths}

    def _with_spreads(self, table: pd.DataFrame) -> pd.DataFrame:
        spreads = self._spreads()
        known = table["run_key"].isin(list(spreads))
        if not known.any():
            return table
        measured = table["run_key"].map(spreads).astype(float)
        return table.assign(rounding_sd=table["rounding_sd"].astype(float).mask(known, measured))

    def has_rounding(self, key: str) -> bool:
        return self._rounding_path(key).is_file()

    def add_rounding(self, key: str, values: Sequence[float]) -> None:
        """Store a run's metric, computed with slightly moved scales, beside its row."""
        content = {"key": key, "values": list(values)}
        write_atomically(self._rounding_path(key), to_sealed_json(content))

    def _rounding_path(self, key: str) -> Path:
        return SweepFolder(self.folder).rounding(key)


def _spread(path: Path, content: bytes) -> float | None:
    """The standard deviation of the stored values."""
    content_read: dict[str, Any] = from_sealed_json(content, path)
    if content_read.get("key", path.stem) != path.stem:
        raise ValueError(f"it is that of {content_read['key']}")
    values = [float(value) for value in content_read["values"]]
    return stdev(values) if len(values) > 1 else None


def _in_order(rows: pa.Table) -> pa.Table:
    """As ``rows.sort_by`` gives it, but with all cores."""
    places = pc.sort_indices(rows, [(name, "ascending") for name in ORDER])
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        columns = pool.map(lambda column: column.take(places), rows.columns)
        return pa.table(list(columns), schema=rows.schema)
