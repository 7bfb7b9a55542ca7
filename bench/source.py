"""A hash of the code that makes a stored result, so that edited code never meets an old result."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))", re.M
)


def source_key(*names: str) -> str:
    """Changes with any edit of these modules, or of a module of their package that they import.

    A name that is a package stands for every module below it. ``source_key("bench.data")`` hashes
    ``bench/data/*.py``, ``bench/cache.py``, ``bench/errors.py`` and so on. Imports are read from
    the text, and have to be absolute.

    Ask when a module is imported, and keep the answer: a process goes on with the code that it
    began with, whatever becomes of the files meanwhile. It takes 5 to 30 ms.
    """
    digest = hashlib.sha256()
    for name, content in sorted(_sources(names).items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:20]


def _sources(names: tuple[str, ...]) -> dict[str, bytes]:
    """The content of every module that is asked for or imported, by its name."""
    roots = {name.partition(".")[0]: _folder(name.partition(".")[0]) for name in names}
    found: dict[str, bytes] = {}
    waiting = [module for name in names for module in _modules(name, roots)]
    while waiting:
        name = waiting.pop()
        path = _file(name, roots)
        if path is not None and name not in found:
            found[name] = path.read_bytes()
            waiting += _imported(found[name].decode())
    return found


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"there is no package {package}")
    return Path(next(iter(spec.submodule_search_locations)))


def _modules(name: str, roots: dict[str, Path]) -> Iterator[str]:
    """The module itself, or of a package every module below it."""
    file = _file(name, roots)
    if file is None:
        raise ModuleNotFoundError(f"there is no module {name}")
    yield name
    if file.name == "__init__.py":
        for path in file.parent.rglob("*.py"):
            inside = path.relative_to(file.parent).with_suffix("")
            yield ".".join([name, *inside.parts])


def _file(name: str, roots: dict[str, Path]) -> Path | None:
    """Where a module's source lies; None for what is no module of these packages."""
    package, *inside = name.split(".")
    if package not in roots:
        return None
    base = roots[package].joinpath(*inside)
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imported(source: str) -> Iterator[str]:
    """Every name that may be an imported module: of ``from a import b`` both a and a.b."""
    for origin, names, plain in _IMPORT.findall(source):
        if origin:
            yield origin
            yield from (f"{origin}.{name}" for name in re.findall(r"\w+", names))
        else:
            yield from re.findall(r"[\w.]+", plain)
