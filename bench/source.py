"""A hash of the code that makes a stored result, so that edited code never meets an old result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


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
