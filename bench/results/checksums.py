"""Checksums of what lies in a sweep's folder, in ``checksums.json`` beside it.

For files whose form is not ours to change, such as ``table.csv``. A file that is written anew is
listed with its old and its new checksum before it is replaced, so that a sweep may be killed at any
moment. Files from before there were checksums are not listed, and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bench.cache import hash_file, only_one, write_atomically
from bench.sealed import DamagedError, warn

NAME = "checksums.json"


def write_listed(path: Path, content: bytes) -> None:
    """Write a file as ``write_atomically``, and list it."""
    with only_one(path.with_name(f".{NAME}.lock")):
        listed = _listed(path.parent)
        digests = [*_before(path, listed), hashlib.sha256(content).hexdigest()]
        text = json.dumps({**listed, path.name: digests}, indent=1) + "\n"
        write_atomically(path.with_name(NAME), text.encode())
        write_atomically(path, content)


def read_listed(path: Path, mend: str) -> bytes:
    """Read such a file; DamagedError where it is listed and is neither of what was written."""
    content = path.read_bytes()
    digests = _listed(path.parent).get(path.name)
    if digests is not None and hashlib.sha256(content).hexdigest() not in digests:
        raise DamagedError(path, f"it is not what {NAME} lists", mend)
    return content


def _before(path: Path, listed: dict[str, list[str]]) -> list[str]:
    """The checksum of what is there, as its writer may have been killed before it could write what
    it had listed last; of a damaged file the last one listed."""
    known = listed.get(path.name, [])
    there = hash_file(path) if path.is_file() else None
    if there is None or (known and there not in known):
        return known[-1:]
    return [there]


def _listed(folder: Path) -> dict[str, list[str]]:
    """The checksums by name; none where the list itself is damaged, which is said."""
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
        return {str(name): [str(own) for own in digests] for name, digests in content.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        warn(f"{path} is damaged ({error}), so no file can be compared with it")
        return {}
