"""Results stored on disk under a content key: computed once, whoever asks, in whatever process.

A key holds a hash of the code that makes the result, so that edited code never meets an old result.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

if TYPE_CHECKING:
    from filelock import FileLock

T = TypeVar("T")


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
    """Size, times of change and inode: what tells that a file is as it was, without reading it.

    The time of the last modification can be set by anyone, that of the inode's change cannot.
    """
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def source_key(*names: str) -> str:
    """Changes with any edit of these modules; a package stands for every module below it.

    What they import is not followed: name every package that a result depends on. Ask when a module
    is imported, and keep the answer: a process goes on with the code that it began with, whatever
    becomes of the files meanwhile. Raises ModuleNotFoundError for a name that is no module.
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
    """Let ``write`` fill a whole file or nothing: a temporary name, flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` as a whole file or not at all."""
    write_with(path, lambda file: file.write(content))


def only_one(path: Path) -> FileLock:
    """A lock that one process at a time can hold, on a file that is made if it is not there."""
    from filelock import FileLock  # brings asyncio: for those who lock alone

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def cached(
    path: Path, load: Callable[[Path], T], compute: Callable[[], Callable[[BinaryIO], object]]
) -> T:
    """Load ``path``, computing it first if nobody has; ``compute`` returns what writes the file.

    Concurrent callers wait on a file lock instead of repeating the work.
    """
    if not path.exists():
        with only_one(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                write_with(path, compute())
    return load(path)
