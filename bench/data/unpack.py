"""Taking one file or folder out of a zip archive, whole or not at all."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from bench.errors import DataError


def take_out(archive: Path, wanted: str, target: Path) -> None:
    """Make ``target`` the file or folder that ``archive`` calls ``wanted``.

    Raises DataError for what is no whole zip archive, lacks it, has in it a path that leads
    elsewhere or a link, or needs more room than there is; ``target`` is then not there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacking-") as folder:
        try:
            with zipfile.ZipFile(archive) as opened:
                members = _members(opened, wanted, archive)
                _require_room(members, target.parent, archive)
                for member in members:  # each is checked against its CRC as it is read
                    opened.extract(member, folder)
        except (
            zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError
        ) as error:  # fmt: skip
            raise DataError(
                f"{archive} is not a complete zip archive ({error})", "Delete it and fetch it again"
            ) from error
        (Path(folder) / wanted).replace(target)


def _members(opened: zipfile.ZipFile, wanted: str, archive: Path) -> list[zipfile.ZipInfo]:
    """What belongs to ``wanted``; no member of the archive at all may lead out of it."""
    for info in opened.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in info.filename:
            raise DataError(
                f"{archive} is not safe to unpack: '{info.filename}' leads out of it",
                "Delete it; somebody has tampered with it",
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(
                f"{archive} is not safe to unpack: '{info.filename}' is a link",
                "Delete it; somebody has tampered with it",
            )
    found = [
        info for info in opened.infolist()
        if info.filename == wanted or info.filename.startswith(f"{wanted}/")
    ]  # fmt: skip
    if not found:
        raise DataError(f"{archive} does not contain {wanted}", "Delete it and fetch it again")
    return found


def _require_room(members: list[zipfile.ZipInfo], folder: Path, archive: Path) -> None:
    needed, free = sum(info.file_size for info in members), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{archive} needs {needed / 1e6:,.0f} MB unpacked, but {folder} has {free / 1e6:,.0f}",
            "Free space, or set BENCH_DATA to another folder",
        )
