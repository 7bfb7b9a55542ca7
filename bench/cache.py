"""Results stored on disk under a content key: computed once for all processes.

A key contains a hash of the code that makes the result, so edited code never reads an old result.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from bench.log import LOG
from bench.sealed import DamagedError, warn

if TYPE_CHECKING:
    from filelock import FileLock

T = TypeVar("T")

_TEMPORARY = ".tmp"
_OLD = re.compile(r"\.(npy|npz|json|csv|parquet|html|md|png|jpg|engine|cache)\.[a-z0-9_]{8}$")
"""How temporary files ended before they named their machine."""
_HOST = re.sub(r"[^A-Za-z0-9-]", "-", platform.node()) or "host"
_DAY = 24 * 3600


def content_key(*parts: object) -> str:
    """A short hash of the parts' text; equal parts give equal keys on every machine."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:20]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_state(path: Path) -> tuple[int, int, int, int]:
    """Size, times of change and inode: they show that a file is unchanged without reading it.

    The time of the last modification can be set by anyone, that of the inode's change cannot.
    """
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def source_key(*names: str) -> str:
    """Changes with any edit of these modules; a package stands for every module below it.

    Their imports are not followed: name every package that a result depends on. Call it when a
    module is imported, and store the answer: a process continues with the code that it started
    with, even if the files change. Raises ModuleNotFoundError for a name that is not a module.
    """
    digest = hashlib.sha256()
    for name in names:
        for path in _files(name):
            content = path.read_bytes()
            digest.update(f"{name}\0{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:20]


def _files(name: str) -> Iterator[Path]:
    """The module's file, or those of every module of the package, in a fixed order."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no module {name}")
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        yield origin
    else:
        yield from sorted(origin.parent.rglob("*.py"))


def write_with(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a whole file or nothing: a temporary name, flushed, then renamed.

    The temporary file is locked while its writer lives, see ``remove_leftovers``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _locked_temporary(path)
    try:
        with os.fdopen(handle, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a full disk
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _locked_temporary(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, open and locked."""
    while True:
        prefix, suffix = f".{path.name}.", f".{_HOST}{_TEMPORARY}"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=suffix)
        with suppress(OSError):  # a file system without locks: then only age tells
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # removed as a leftover before it was locked


def remove_leftovers(*folders: Path) -> None:
    """Remove the temporary files of writers that were killed, directly in these folders.

    A live writer on this machine holds the lock of its file. Locks of other machines are not
    visible on every shared file system, so the file must also be a day old.
    """
    for folder in folders:
        with suppress(OSError):  # no such folder, or no permission to write
            for path in [Path(entry) for entry in os.scandir(folder) if _is_temporary(entry.name)]:
                with suppress(OSError):
                    _remove_unless_written(path)


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and (name.endswith(_TEMPORARY) or bool(_OLD.search(name)))


def _remove_unless_written(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError if its writer lives
        ours = path.name.endswith(f".{_HOST}{_TEMPORARY}")
        if ours or abs(time.time() - os.fstat(handle).st_mtime) > _DAY:
            path.unlink()
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` as a whole file or not at all."""
    write_with(path, lambda file: file.write(content))


def only_one(path: Path) -> FileLock:
    """A lock that one process at a time can hold, on a file that is created if missing.

    The system holds it (flock) and frees it when the process ends, however that ends. On NFS the
    server does, and frees it when the machine is gone; where a file system has no locks filelock
    falls back to a file that names process and machine.
    """
    from filelock import FileLock  # imports asyncio, so only where locks are used

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def cached(
    path: Path, load: Callable[[Path], T], compute: Callable[[], Callable[[BinaryIO], object]]
) -> T:
    """Load ``path``, computing it first if missing; ``compute`` returns a function that writes it.

    A damaged file is reported and computed again. Concurrent callers wait on a file lock instead
    of repeating the work.
    """
    with suppress(FileNotFoundError, DamagedError):
        return _loaded(path, load)
    with only_one(path.with_name(f".{path.name}.lock")):
        try:
            return _loaded(path, load)
        except FileNotFoundError:
            pass
        except DamagedError as error:
            warn(f"{error}. It is made again")
        LOG.info("compute %s", path.name)
        write_with(path, compute())
        return load(path)


def _loaded(path: Path, load: Callable[[Path], T]) -> T:
    result = load(path)
    LOG.info("read %s", path.name)
    return result
