"""The hashes of files' contents, remembered on disk: unchanged files are read once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.cache import content_key, file_state, hash_file, write_atomically
from bench.sealed import DamagedError, read_sealed, seal, warn

SETTLED_NS = 2_000_000_000
"""A file that changed later than so long ago may change again without another time: clocks of file
systems tick every few milliseconds, some every two seconds. Its hash is not remembered yet."""

State = tuple[int, int, int, int]


class ContentHashes:
    """SHA-256 of files, remembered under ``folder`` by path, size, times and inode.

    Without a folder nothing is remembered. ``strict`` reads every file again, whatever is
    remembered. Nothing is lost but work where two processes write at once, or where what was
    remembered is damaged.
    """

    def __init__(
        self,
        folder: Path | None = None,
        strict: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder, self._strict, self._clock = folder, strict, clock

    def of(self, root: Path, names: Sequence[str]) -> tuple[str, ...]:
        """The hash of each file ``root / name``; raises OSError for one that cannot be read."""
        started = self._clock()
        known = self._load(root)
        states = [file_state(root / name) for name in names]
        hashes = [
            "" if self._strict else _remembered(known.get(name), state)
            for name, state in zip(names, states, strict=True)
        ]
        to_read = [index for index, own in enumerate(hashes) if not own]
        if not to_read:
            return tuple(hashes)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            read = pool.map(hash_file, [root / names[index] for index in to_read])
            for index, own in zip(to_read, read, strict=True):
                hashes[index] = own
        settled = {
            names[index]: [*states[index], hashes[index]]
            for index in to_read
            if max(states[index][1:3]) < started - SETTLED_NS
            and file_state(root / names[index]) == states[index]
        }
        self._add(root, {name: own for name, own in settled.items() if known.get(name) != own})
        return tuple(hashes)

    def _path(self, root: Path) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"hashes-{content_key(root.absolute())}.json"

    def _load(self, root: Path) -> dict[str, object]:
        path = self._path(root)
        try:
            content = json.loads(read_sealed(path)) if path else {}
        except DamagedError as error:
            warn(f"{error}. Files are read again")
            return {}
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _add(self, root: Path, hashes: dict[str, object]) -> None:
        path = self._path(root)
        if path is not None and hashes:  # another process may have added others meanwhile
            write_atomically(path, seal(json.dumps(self._load(root) | hashes).encode(), path))


def _remembered(entry: object, state: State) -> str:
    """The hash of a file in this state; "" where nothing is known of it."""
    if not isinstance(entry, list) or len(entry) != 5 or entry[:4] != list(state):
        return ""
    return entry[4] if isinstance(entry[4], str) and len(entry[4]) == 64 else ""
