"""List the public names of a TensorRT: ``python scripts/tensorrt_api.py SITE OUT_FOLDER``.

Writes ``OUT_FOLDER/VERSION.txt`` (``rtx-VERSION.txt`` of TensorRT for RTX) with a line for each
public name of the Python bindings, and what their docstrings tell of its types::

    class IConvolutionLayer(ILayer)                 a class and what it derives from
    Builder.create_network(flags: int = ...) -> INetworkDefinition
    IBuilderConfig.profiling_verbosity: ProfilingVerbosity
    INetworkDefinition.num_layers -> int            an attribute that can only be read
    static TimingCacheKey.parse(text: str) -> TimingCacheKey
    BuilderFlag.INT8                                a member of an enumeration
    float32 = DataType.FLOAT                        another name of such a member

An overloaded function has a line for each signature. ``object`` is a type that its docstring
leaves out or tells in words of C++. Where TensorRT takes whatever makes an int or a float, the list
says int or float. ``name``, ``value`` and ``int()``, which every enumeration has, are left out.

The tests check our code against these lists, as names and, by ``tensorrt_stubs.py``, as types.

SITE is an unpacked wheel (``python -m zipfile -e WHEEL SITE``) of ``tensorrt==8.5.1.7``,
``tensorrt==8.6.0``, ``tensorrt-cu12-bindings==10.16.1.11``, ``tensorrt-cu13-bindings==11.4.0.106``
or ``tensorrt-rtx-cu13-bindings==1.7.1.116``, for the Python that runs this (3.10 has all of them).
The bindings link against NVIDIA's libraries but call nothing in them while they are imported, so
empty ones, made here with gcc, will do: neither a GPU nor a driver nor cuDNN is needed.
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
from types import ModuleType, WrapperDescriptorType
from typing import Any

_OTHERS = re.compile(r"_?Py|_ITM|__|dl|pthread")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site", type=Path, help="folder of an unpacked wheel, or site-packages")
    parser.add_argument("out", type=Path, help="folder for VERSION.txt")
    given = parser.parse_args()
    (metadata,) = given.site.glob("tensorrt*.dist-info/METADATA")
    (version,) = re.findall(r"^Version: (\S+)", metadata.read_text(), re.MULTILINE)
    (bindings,) = given.site.glob("tensorrt*/tensorrt*.so")
    edition = bindings.stem.replace("tensorrt", "").lstrip("_")
    path = given.out / f"{'-'.join(filter(None, (edition, version)))}.txt"
    path.write_text("".join(f"{line}\n" for line in names(load(bindings))))
    print(path)
    return 0


def load(bindings: Path) -> ModuleType:
    """The extension module, behind libraries that are empty."""
    with tempfile.TemporaryDirectory() as folder:
        _preload_stubs(bindings, Path(folder))
        loader = ExtensionFileLoader(bindings.stem, str(bindings))
        spec = importlib.util.spec_from_loader(bindings.stem, loader)
        if spec is None:
            sys.exit(f"error: {bindings} is no module of this Python")
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module


def _preload_stubs(bindings: Path, folder: Path) -> None:
    """Load a library of each name that the bindings need, with functions that return 0."""
    needed = re.findall(r"NEEDED\s+(lib(?:nv|tensorrt)\S+)", _output("objdump", "-p", bindings))
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


def names(module: ModuleType) -> list[str]:
    """A line for every public name, classes with their members, in the names' order."""
    types = _Types({path for path, value in _walk(module) if inspect.isclass(value)})
    lines = [(path, line) for path, value in _walk(module) for line in _lines(path, value, types)]
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


def _walk(owner: object, before: str = "") -> Iterator[tuple[str, object]]:
    """``Builder``, ``Builder.reset``, ``ILogger.Severity.ERROR`` ... and what they are."""
    for name, value in vars(owner).items():
        special = name in ("__init__", "__len__", "__getitem__") and inspect.isclass(owner)
        if (name.startswith("_") and not special) or inspect.ismodule(value):
            continue
        if isinstance(value, WrapperDescriptorType):  # no constructor: TensorRT alone makes these
            continue
        if _is_enumeration(owner) and (special or name in ("name", "value")):
            continue
        yield before + name, value
        if inspect.isclass(value):
            yield from _walk(value, f"{before}{name}.")


def _is_enumeration(value: object) -> bool:
    return inspect.isclass(value) and hasattr(value, "__members__")


def _lines(path: str, value: object, types: _Types) -> Iterator[str]:
    if inspect.isclass(value):
        base = types.known(value.__base__.__name__ if value.__base__ else "object")
        if _is_enumeration(value):
            base = "Enumeration"
        elif "buffer protocol" in (value.__doc__ or ""):
            base = "Buffer"
        yield f"class {path}({base})" if base else f"class {path}"
    elif _is_enumeration(type(value)):
        kind: Any = type(value)
        member = next(name for name, own in kind.__members__.items() if own == value)
        inside = path.rpartition(".")[0] == kind.__qualname__
        yield path if inside else f"{path} = {kind.__qualname__}.{member}"
    elif isinstance(value, property):
        yield path + _attribute(value, types)
    elif isinstance(value, staticmethod):
        yield from (f"static {path}{told}" for told in _signatures(value.__func__, types))
    elif callable(value):
        yield from (path + told for told in _signatures(value, types))
    else:
        yield f"{path}: {type(value).__name__}"


def _attribute(value: property, types: _Types) -> str:
    """``: int``, or ``-> int`` where it cannot be set, from ``(arg0: tensorrt.Builder) -> int``."""
    got = re.search(r"\) -> (.+)", value.fget.__doc__ or "")
    put = re.search(r", arg1: (.+)\) ->", getattr(value.fset, "__doc__", None) or "")
    told = types.translate(str((got or put or [None, "object"])[1]))
    return f" -> {told}" if value.fset is None else f": {told}"


def _signatures(function: object, types: _Types) -> Iterator[str]:
    """``(flags: int = ...) -> INetworkDefinition``, for each overload."""
    found = re.findall(
        r"^(?:\d+\. )?\w+\((.*)\) -> (.+)$", getattr(function, "__doc__", None) or "", re.MULTILINE
    )
    for arguments, result in dict.fromkeys(found):
        own = [_argument(part, types) for part in _split(arguments) if part[:5] != "self:"]
        yield f"({', '.join(own)}) -> {types.translate(result)}"


def _split(arguments: str) -> list[str]:
    """At the commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _argument(told: str, types: _Types) -> str:
    """``path: str | None = ...`` from ``path: str = None``."""
    declared, equals, default = told.partition(" = ")
    name, _, kind = declared.partition(": ")
    optional = " | None" if default == "None" else ""
    return f"{name}: {types.translate(kind)}{optional}{' = ...' if equals else ''}"


_SAME = {
    "List": "list",
    "Tuple": "tuple",
    "SupportsInt": "int",
    "SupportsFloat": "float",
    "buffer": "Buffer",
    "numpy.ndarray": "ndarray",
}
_PLAIN = frozenset({"None", "bool", "bytes", "float", "int", "list", "memoryview", "object"})
_PLAIN |= {"Buffer", "Iterable", "Sequence", "ndarray", "slice", "str", "tuple"}
_OWNERS = re.compile(
    r"\b((tensorrt(_rtx|_bindings|_rtx_bindings)?|typing|typing_extensions|collections\.abc)\."
    r"|(nvinfer1|nvonnxparser)::(v_1_0::)?)+"
)


class _Types:
    """The docstrings' types as Python writes them, and as all versions agree on."""

    def __init__(self, classes: set[str]) -> None:
        self._classes = classes

    def translate(self, told: str) -> str:
        plain = _OWNERS.sub("", told.strip()).replace("::", ".")
        parts = [self._word(part) for part in re.split(r"([\w.]+)", plain)]
        return "".join(part for part in parts if part) if None not in parts else "object"

    def _word(self, word: str) -> str | None:
        if not re.match(r"\w", word):
            return word if re.fullmatch(r"[\[\], ]*", word) else None
        same = _SAME.get(word, word)
        return same if same in _PLAIN else self.known(same)

    def known(self, name: str) -> str | None:
        """A class by its name in Python or, without the I of interfaces there, in C++."""
        return next((n for n in (name, name.removeprefix("I")) if n in self._classes), None)


if __name__ == "__main__":
    sys.exit(main())
