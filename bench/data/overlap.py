"""Images that calibrate and are evaluated too: what INT8 loses there says little of new ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from bench.cache import hash_file
from bench.data.dataset import Samples
from bench.data.files import FileSamples


def count_shared(
    chosen: Samples, used: Iterable[int], evaluated: Samples, against: Iterable[int]
) -> int | None:
    """How many of the images ``used`` of ``chosen`` are among those of ``evaluated``.

    The same file (a link too), or another of the same content: bytes are read only where sizes are
    equal. None where either side does not lie in files.
    """
    if not isinstance(chosen, FileSamples) or not isinstance(evaluated, FileSamples):
        return None
    by_size: dict[int, list[Path]] = defaultdict(list)
    files: set[tuple[int, int]] = set()
    for path in map(evaluated.path, against):
        stat = path.stat()
        files.add((stat.st_dev, stat.st_ino))
        by_size[stat.st_size].append(path)
    contents: dict[int, set[str]] = {}
    shared = 0
    for path in map(chosen.path, used):
        stat = path.stat()
        if (stat.st_dev, stat.st_ino) in files:
            shared += 1
        elif stat.st_size in by_size:
            if stat.st_size not in contents:
                contents[stat.st_size] = set(map(_content, by_size[stat.st_size]))
            shared += _content(path) in contents[stat.st_size]
    return shared


def _content(path: Path) -> str:
    return _hash(path, path.stat().st_mtime_ns)


# Every run of a sweep asks again; ``changed`` tells a file's versions apart.
@lru_cache(maxsize=1 << 17)
def _hash(path: Path, changed: int) -> str:
    return hash_file(path)
