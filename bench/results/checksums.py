"""Checksums of files in a sweep's folder, in its ``checksums.json``.

For files whose format we cannot change, such as ``table.csv``. Before a file is replaced, it is
listed with its old and its new checksum, so that a sweep may be killed at any moment. Older files
are not listed, and are read without a check.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bench.cache import hash_file, only_one, write_atomically
from bench.sealed import DamagedError, warn

NAME = "checksums.json"


def write_listed(path: Path, content: bytes) -> None:
    """Write a file with ``write_atomically``, and list it; a file with this content stays."""
    with only_one(path.with_name(f".{NAME}.lock")):
        listed, digest = _listed(path.parent), hashlib.sha256(content).hexdigest()
        known, there = listed.get(path.name, []), hash_file(path) if path.is_file() else None
        if there == digest and digest in known:
            return
        digests = [*_before(there, known), digest]
        text = json.dumps({**listed, path.name: digests}, indent=1) + "\n"
        write_atomically(path.with_name(NAME), text.encode())
        write_atomically(path, content)


def read_listed(path: Path, fix: str) -> bytes:
    """Read such a file; DamagedError where it is listed and matches neither checksum."""
    content = path.read_bytes()
    digests = _listed(path.parent).get(path.name)
    if digests is not None and hashlib.sha256(content).hexdigest() not in digests:
        raise DamagedError(path, f"its checksum is not in {NAME}", fix)
    return content


def _before(there: str | None, known: list[str]) -> list[str]:
    """The checksum of the present content, since its writer may have been killed after listing the
    new checksum; for a damaged file the last one listed."""
    if there is None or (known and there not in known):
        return known[-1:]
    return [there]


def _listed(folder: Path) -> dict[str, list[str]]:
    """The checksums by name; none (with a warning) where the list itself is damaged."""
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
        return {str(name): [str(digest) for digest in digests] for name, digests in content.items()}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        warn(f"{path} is damaged ({error}), so no file can be checked with it")
        return {}
