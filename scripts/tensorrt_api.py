"""List the public names of a TensorRT: ``python scripts/tensorrt_api.py SITE OUT_FOLDER``.

Writes ``OUT_FOLDER/VERSION.txt`` with a line for each name of the Python bindings: a class, a
function, a member of a class or enumeration; functions with the names of their arguments, taken
from the docstrings (of an overloaded one, the first). The tests check every name and keyword of
``bench/engine/trt`` against these.

SITE is an unpacked wheel (``python -m zipfile -e WHEEL SITE``) of ``tensorrt==8.5.1.7``,
``tensorrt==8.6.0``, ``tensorrt-cu12-bindings==10.16.1.11`` or
``tensorrt-cu13-bindings==11.4.0.106``, for the Python that runs this (3.10 has all of them). The
bindings link against NVIDIA's libraries but call nothing in them while they are imported, so empty
ones, made here with gcc, will do: neither a GPU nor a driver nor cuDNN is needed.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType

_OTHERS = re.compile(r"_?Py|_ITM|__|dl|pthread")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", type=Path, help="folder of an unpacked wheel, or site-packages")
    parser.add_argument("out", type=Path, help="folder for VERSION.txt")
    given = parser.parse_args()
    (metadata,) = given.site.glob("tensorrt*.dist-info/METADATA")
    (version,) = re.findall(r"^Version: (\S+)", metadata.read_text(), re.MULTILINE)
    (bindings,) = [*given.site.glob("tensorrt*/tensorrt.so")]
    path = given.out / f"{version}.txt"
    path.write_text("".join(f"{line}\n" for line in sorted(set(names(load(bindings))))))
    print(path)
    return 0


def load(bindings: Path) -> ModuleType:
    """The extension module, behind libraries that are empty."""
    with tempfile.TemporaryDirectory() as folder:
        _preload_stubs(bindings, Path(folder))
        loader = ExtensionFileLoader("tensorrt", str(bindings))
        spec = importlib.util.spec_from_loader("tensorrt", loader)
        if spec is None:
            sys.exit(f"error: {bindings} is no module of this Python")
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module


def _preload_stubs(bindings: Path, folder: Path) -> None:
    """Load a library of each name that the bindings need, with functions that return 0."""
    needed = re.findall(r"NEEDED\s+(libnv\S+)", _output("objdump", "-p", bindings))
    symbols = [line.split()[-1] for line in _output("nm", "-Du", bindings).splitlines()]
    ours = [name for name in symbols if "@" not in name and not _OTHERS.match(name)]
    source = folder / "stubs.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in ours))
    for name in needed:
        _output("gcc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source)
        ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)


def _output(*command: object) -> str:
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    ).stdout


def names(module: ModuleType) -> Iterator[str]:
    """Every public name, classes with their members."""
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if not inspect.isclass(value):
            yield name + _arguments(value)
            continue
        yield name + _arguments(value.__init__)
        for member, own in vars(value).items():
            if not member.startswith("_"):
                yield f"{name}.{member}{_arguments(own)}"


def _arguments(function: object) -> str:
    """``(flags)`` from ``create_network(self: ..., flags: int = 0) -> ...``; "" where unsaid."""
    if isinstance(function, property):
        return ""
    found = re.search(r"\w+\((self: [^)]*)\)", getattr(function, "__doc__", None) or "")
    if not found:
        return ""
    arguments = re.findall(r"(?:^|, )(\w+):", found[1])
    return f"({', '.join(arguments[1:])})"


if __name__ == "__main__":
    sys.exit(main())
