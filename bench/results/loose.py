"""A run with loose files: its row, which lists the checksums of the others, and these files.

A row is written last and atomically. A file that cannot be read is renamed, so that it does not
block the sweep, and the run is repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

from bench.cache import hash_file, write_atomically
from bench.errors import DataError
from bench.results.folder import SweepFolder
from bench.results.row import Row
from bench.sealed import DamagedError, from_sealed_json, is_sealed_json, to_sealed_json, warn

T = TypeVar("T")

Kind = Literal[
    "judged", "ranges", "rules", "calibration_cache", "layers", "losses", "plan_search", "log"
]
"""A run's file beside its row, by its name in ``SweepFolder``."""
KINDS: tuple[Kind, ...] = get_args(Kind)

UNREADABLE = (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""The exceptions of reading another kind of content."""


class OtherVersionError(DataError):
    """A complete file that only another version of this program can read."""

    def __init__(self, path: Path, what: str, error: Exception) -> None:
        super().__init__(
            f"{path} is not {what} of this version ({error})",
            "Use the version that wrote it, or move it away and run again",
        )


@dataclass(frozen=True)
class LooseRun:
    """The content of a row's file: the row, the raw values behind its medians, the checksums of the
    run's other files by their paths in the folder."""

    path: Path
    row: Row
    raw: Mapping[str, Sequence[float]]
    files: Mapping[str, str]


def file_of_run(folder: Path, kind: Kind, key: str) -> Path:
    """Where a run's file lies while it is loose; it may be missing."""
    path: Path = getattr(SweepFolder(folder), kind)(key)
    return path


def write_run(folder: Path, row: Row, raw: Mapping[str, Sequence[float]]) -> None:
    """Write a row, the last of a run's files."""
    paths = (file_of_run(folder, kind, row.run_key) for kind in KINDS)
    files = {_name(folder, path): hash_file(path) for path in paths if path.is_file()}
    content = {"row": row.to_json(), "raw": dict(raw), "files": files}
    write_atomically(SweepFolder(folder).row(row.run_key), to_sealed_json(content, indent=1))


def read_run(path: Path, content: bytes) -> LooseRun:
    """The content of a row's file; raises one of many errors for anything else."""
    members = from_sealed_json(content, path)
    try:
        row = Row.from_json(members["row"])
    except (ValueError, TypeError) as error:
        if is_sealed_json(content):
            raise OtherVersionError(path, "a row", error) from error
        raise
    if row.run_key != path.stem:
        raise ValueError(f"it is the row of {row.run_key}")
    row.check()
    return LooseRun(path, row, members.get("raw", {}), dict(members.get("files", {})))


def listed_files(folder: Path, key: str) -> Mapping[str, str] | None:
    """The checksums that a run's row lists; empty for an older row. None where there is no readable
    row; the reader of the row reports that."""
    path = SweepFolder(folder).row(key)
    try:
        return dict(from_sealed_json(path.read_bytes(), path).get("files", {}))
    except (OSError, *UNREADABLE):
        return None


def read_file(folder: Path, kind: Kind, key: str, files: Mapping[str, str]) -> bytes | None:
    """One of a run's files; None where it is missing, DamagedError where ``files`` lists another
    checksum."""
    path = file_of_run(folder, kind, key)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
    known = files.get(_name(folder, path))
    if known is not None and hashlib.sha256(content).hexdigest() != known:
        raise DamagedError(path, f"its checksum is not in {SweepFolder(folder).row(key).name}")
    return content


def read_or_set_aside(path: Path, read: Callable[[Path, bytes], T]) -> T | None:
    """The content of a file; None where it is missing or cannot be read. An unreadable file is
    renamed, with a warning."""
    content = b""
    try:
        content = path.read_bytes()
        return read(path, content)
    except FileNotFoundError:
        return None
    except OtherVersionError:
        raise
    except (IsADirectoryError, *UNREADABLE) as error:
        reason = error.reason if isinstance(error, DamagedError) else str(error)
        # otherwise it was written again meanwhile
        set_aside(path, reason, lambda: path.is_dir() or path.read_bytes() == content)
        return None


def set_aside(path: Path, reason: str, still: Callable[[], bool]) -> None:
    """Rename a file that is ``still`` unreadable, and print a warning."""
    aside = path.with_name(f"{path.name}.unreadable")
    with contextlib.suppress(OSError):
        if still():
            path.replace(aside)
    warn(
        f"{path} cannot be read ({reason}) and is left out"
        + (f"; it was renamed to {aside.name}" if aside.exists() else "")
    )


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
