"""Where finished runs are kept: one JSON file a run, written atomically; many of them in packs.

Only a skipped one is ever made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from statistics import stdev

import pandas as pd
import pyarrow as pa

from bench.cache import write_atomically
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.packs import FEWEST_LOOSE, LooseRun, Packs, pack, rows_of, table_of, write_row
from bench.results.row import Row
from bench.results.table import make_table, read_packed

ORDER = ("started_at", "run_key")
"""Of rows, wherever they lie."""


@dataclass(frozen=True)
class RowStore:
    """The rows of one sweep under ``folder/rows``.

    A file holds the row and the raw values behind its medians, so that a number can be drawn
    again or doubted later. Killing a sweep loses at most the run in flight.
    """

    folder: Path

    @cached_property
    def packs(self) -> Packs:
        return Packs(self.folder)

    def path(self, key: str) -> Path:
        return SweepFolder(self.folder).row(key)

    def settled(self, key: str) -> bool:
        """Whether the run needs no other try: what was skipped may go better another time.

        Raises DataError for a file of no row.
        """
        with suppress(FileNotFoundError):  # it may be packed just now
            return self._read(self.path(key)).status != "skipped"
        return key in self.packs

    def add(self, row: Row, raw: Mapping[str, Sequence[float]]) -> None:
        write_row(self.path(row.run_key), row, raw)

    def rows(self) -> list[Row]:
        """Every finished run, in the order of its start; raises DataError for a file of no row."""
        loose = [run.row for run in self._loose()]
        packed = rows_of(self.packs.table({row.run_key for row in loose}))
        return self._in_order([*loose, *packed])

    def table(self) -> pd.DataFrame:
        """``make_table`` of all rows, without an object for each that is packed."""
        loose = [run.row for run in self._loose()]
        packed = self.packs.table({row.run_key for row in loose})
        if packed is None:
            return make_table(self._in_order(loose))
        try:
            parts = [packed, table_of(loose)]
        except (pa.ArrowException, OverflowError):  # a value that no column of a file can hold
            return make_table(self._in_order([*loose, *rows_of(packed)]))
        together = pa.concat_tables(parts, promote_options="permissive")
        table = read_packed(together.sort_by([(name, "ascending") for name in ORDER]))
        spreads = {key: spread for key, spread in self._spreads().items() if spread is not None}
        return table.assign(
            rounding_sd=table["run_key"].map(spreads).fillna(table["rounding_sd"].astype(float))
        )

    def _in_order(self, rows: Sequence[Row]) -> list[Row]:
        spreads = self._spreads()
        rows = [
            replace(row, rounding_sd=spreads[row.run_key]) if row.run_key in spreads else row
            for row in rows
        ]
        return sorted(rows, key=attrgetter(*ORDER))

    def pack(self) -> None:
        """Pack finished runs where they are many; see ``bench.results.packs``."""
        if sum(1 for _ in SweepFolder(self.folder).rows.glob("*.json")) >= FEWEST_LOOSE:
            pack(self.folder, list(self._loose()))

    def _loose(self) -> Iterator[LooseRun]:
        for path in sorted(SweepFolder(self.folder).rows.glob("*.json")):
            with suppress(FileNotFoundError):  # it is packed since the folder was listed
                yield LooseRun(path, self._read(path))

    def _spreads(self) -> dict[str, float | None]:
        roundings = SweepFolder(self.folder).roundings
        return {path.stem: _spread(path) for path in roundings.glob("*.json")}

    def has_rounding(self, key: str) -> bool:
        return self._rounding_path(key).is_file()

    def add_rounding(self, key: str, values: Sequence[float]) -> None:
        """Keep a run's metric as computed with slightly moved scales, beside its row."""
        write_atomically(self._rounding_path(key), json.dumps({"values": list(values)}).encode())

    def _rounding_path(self, key: str) -> Path:
        return SweepFolder(self.folder).rounding(key)

    @staticmethod
    def _read(path: Path) -> Row:
        try:
            return Row.from_json(json.loads(path.read_text())["row"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a row of this version ({error})", "Move it away and run again"
            ) from error


def _spread(path: Path) -> float | None:
    """The standard deviation of the kept values; DataError for a file of something else."""
    try:
        values = [float(value) for value in json.loads(path.read_text())["values"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not say what rounding does ({error})", "Delete it; the sweep measures it"
        ) from error
    return stdev(values) if len(values) > 1 else None
