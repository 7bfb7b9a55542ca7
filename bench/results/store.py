"""Where finished runs are kept: one JSON file a run, written atomically.

Only a skipped one is ever made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import stdev

from bench.cache import write_atomically
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.row import Row


@dataclass(frozen=True)
class RowStore:
    """The rows of one sweep under ``folder/rows``.

    A file holds the row and the raw values behind its medians, so that a number can be drawn
    again or doubted later. Killing a sweep loses at most the run in flight.
    """

    folder: Path

    def path(self, key: str) -> Path:
        return SweepFolder(self.folder).row(key)

    def settled(self, key: str) -> bool:
        """Whether the run needs no other try: what was skipped may go better another time.

        Raises DataError for a file of no row.
        """
        path = self.path(key)
        return path.is_file() and self._read(path).status != "skipped"

    def add(self, row: Row, raw: Mapping[str, Sequence[float]]) -> None:
        text = json.dumps({"row": row.to_json(), "raw": dict(raw)}, indent=1)
        write_atomically(self.path(row.run_key), text.encode())

    def row(self, key: str) -> Row:
        """A finished run's; raises DataError for a file of no row."""
        return self._read(self.path(key))

    def rows(self) -> list[Row]:
        """Every finished run, in the order of its start; raises DataError for a file of no row."""
        folder = SweepFolder(self.folder)
        rows = [self._read(path) for path in sorted(folder.rows.glob("*.json"))]
        rounded = {path.stem: path for path in folder.roundings.glob("*.json")}
        rows = [
            replace(row, rounding_sd=_spread(rounded[row.run_key]))
            if row.run_key in rounded
            else row
            for row in rows
        ]
        return sorted(rows, key=lambda row: (row.started_at, row.run_key))

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
