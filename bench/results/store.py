"""Where finished runs are kept: one JSON file a run, written atomically.

Only a skipped one is ever made again, and one whose file cannot be read: that is set aside, so that
no file stops a sweep for good.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import stdev
from typing import Any, TypeVar

from bench.cache import hash_file, write_atomically
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.row import Row
from bench.sealed import DamagedError, from_sealed_json, is_sealed_json, to_sealed_json, warn

T = TypeVar("T")

_UNFIT = (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading content of another kind may raise."""


@dataclass(frozen=True)
class RowStore:
    """The rows of one sweep under ``folder/rows``.

    A file holds the row, the raw values behind its medians, so that a number can be drawn again or
    doubted later, and the checksums of the run's other files. Killing a sweep loses at most the run
    in flight.
    """

    folder: Path

    def path(self, key: str) -> Path:
        return SweepFolder(self.folder).row(key)

    def settled(self, key: str) -> bool:
        """Whether the run needs no other try: what was skipped may go better another time.

        Raises DataError for a row of another version.
        """
        row = _read_or_set_aside(self.path(key), _row)
        return row is not None and row.status != "skipped"

    def add(self, row: Row, raw: Mapping[str, Sequence[float]]) -> None:
        """Store a row, the last of a run's files."""
        files = {
            path.relative_to(self.folder).as_posix(): hash_file(path)
            for path in _files_of(SweepFolder(self.folder), row.run_key)
            if path.is_file()
        }
        content = {"row": row.to_json(), "raw": dict(raw), "files": files}
        write_atomically(self.path(row.run_key), to_sealed_json(content, indent=1))

    def row(self, key: str) -> Row:
        """A settled run's."""
        path = self.path(key)
        return _row(path, path.read_bytes())

    def rows(self) -> list[Row]:
        """Every finished run, in the order of its start; DataError for one of another version."""
        folder = SweepFolder(self.folder)
        read = (_read_or_set_aside(path, _row) for path in sorted(folder.rows.glob("*.json")))
        rows = [row for row in read if row is not None]
        rounded = {path.stem: path for path in folder.roundings.glob("*.json")}
        rows = [
            replace(row, rounding_sd=_read_or_set_aside(rounded[row.run_key], _spread))
            if row.run_key in rounded
            else row
            for row in rows
        ]
        return sorted(rows, key=lambda row: (row.started_at, row.run_key))

    def has_rounding(self, key: str) -> bool:
        return self._rounding_path(key).is_file()

    def add_rounding(self, key: str, values: Sequence[float]) -> None:
        """Keep a run's metric as computed with slightly moved scales, beside its row."""
        content = {"key": key, "values": list(values)}
        write_atomically(self._rounding_path(key), to_sealed_json(content))

    def _rounding_path(self, key: str) -> Path:
        return SweepFolder(self.folder).rounding(key)


def _files_of(folder: SweepFolder, run_key: str) -> tuple[Path, ...]:
    """A run's files beside its row; each may be missing."""
    return (
        folder.judged(run_key),
        folder.ranges(run_key),
        folder.calibration_cache(run_key),
        folder.layers(run_key),
        folder.losses(run_key),
    )


def read_of_run(folder: Path, run_key: str, path: Path) -> bytes:
    """One of a run's files; DamagedError where its row says another checksum.

    A row from before there were any says none, and neither does one that is not there.
    """
    content = path.read_bytes()
    try:
        row = SweepFolder(folder).row(run_key)
        files = from_sealed_json(row.read_bytes(), row)["files"]
        known = files.get(path.relative_to(folder).as_posix())
    except (OSError, *_UNFIT):  # whoever reads the row says so
        return content
    if known is not None and hashlib.sha256(content).hexdigest() != known:
        raise DamagedError(path, f"it is not what {row.name} lists")
    return content


def _read_or_set_aside(path: Path, read: Callable[[Path, bytes], T]) -> T | None:
    """What is in a file; None where there is none, and where it cannot be read: then it is renamed,
    and that is said in a line."""
    content = b""
    try:
        content = path.read_bytes()
        return read(path, content)
    except FileNotFoundError:
        return None
    except _OtherVersionError:
        raise
    except (IsADirectoryError, *_UNFIT) as error:
        reason = error.reason if isinstance(error, DamagedError) else str(error)
        aside = path.with_name(f"{path.name}.unreadable")
        with contextlib.suppress(OSError):
            if path.is_dir() or path.read_bytes() == content:  # else it was made again meanwhile
                path.replace(aside)
        warn(
            f"{path} cannot be read ({reason}) and is left out"
            + (f"; it is {aside.name} now" if aside.exists() else "")
        )
        return None


class _OtherVersionError(DataError):
    """A whole row that only another version of this harness can read."""


def _row(path: Path, content: bytes) -> Row:
    values = from_sealed_json(content, path)["row"]
    try:
        row = Row.from_json(values)
    except (ValueError, TypeError) as error:
        if is_sealed_json(content):
            raise _OtherVersionError(
                f"{path} is not a row of this version ({error})",
                "Use the version that wrote it, or move it away and run again",
            ) from error
        raise
    if row.run_key != path.stem:
        raise ValueError(f"it is the row of {row.run_key}")
    row.check()
    return row


def _spread(path: Path, content: bytes) -> float | None:
    """The standard deviation of the kept values."""
    kept: dict[str, Any] = from_sealed_json(content, path)
    if kept.get("key", path.stem) != path.stem:
        raise ValueError(f"it is that of {kept['key']}")
    values = [float(value) for value in kept["values"]]
    return stdev(values) if len(values) > 1 else None
