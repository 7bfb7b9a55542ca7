"""Write ``typings/tensorrt_api.pyi``, what mypy knows of TensorRT, from the lists of its names.

``python scripts/tensorrt_stubs.py`` takes all lists that ``tensorrt_api.py`` made, and of a name in
several what the newest says; TensorRT itself need not be installed. ``class TensorRT`` stands for
the module, so that an argument ``trt: TensorRT`` may be TensorRT or TensorRT for RTX, imported when
it is needed. The tests run mypy with the stubs of each list by itself.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTS = ROOT / "tests" / "engine" / "tensorrt_api"
STUBS = ROOT / "typings" / "tensorrt_api.pyi"

_HEAD = '''\
"""Made by scripts/tensorrt_stubs.py of the lists in tests/engine/tensorrt_api."""

# mypy: disable-error-code="assignment, misc, override, type-arg"

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, overload

import tensorrt_api
from numpy import ndarray
from typing_extensions import Buffer, Self

class Enumeration:
    """What pybind11 makes of an enumeration of C++."""

    __members__: ClassVar[Mapping[str, Self]]
    def __init__(self, value: int) -> None: ...
    def __int__(self) -> int: ...
    def __index__(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

'''
_MODULE = '''\
class TensorRT:
    """The module."""

    __version__: str
'''
_MAY_GIVE_NONE = ("get_batch", "read_calibration_cache")
"""Methods that TensorRT calls. None will do, say their docstrings, but not their signatures."""


def main() -> None:
    STUBS.write_text(merged())
    print(STUBS)


def merged() -> str:
    """The stub file of all lists."""
    lists = sorted(LISTS.glob("*.txt"), key=_number)
    return stubs(*(path.read_text() for path in lists))


def _number(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.stem)]


def listed_name(line: str) -> str:
    """``Builder.reset`` of the line ``Builder.reset() -> None``."""
    (name,) = re.findall(r"^(?:class |static )?([\w.]+)", line)
    return str(name)


def stubs(*lists: str) -> str:
    """The stub file of all names in ``lists``; of a name in several, what the last one says."""
    told: dict[str, list[str]] = {}
    for text in lists:
        lines = sorted(text.splitlines(), key=listed_name)
        told |= {name: list(of_name) for name, of_name in groupby(lines, listed_name)}
    owners = {name.rpartition(".")[0] for name in told}
    classes, module = "", _MODULE
    for name in sorted(told):  # a class comes before its members
        depth, lines = name.count("."), list(_definition(told[name], name in owners))
        if depth or lines[0].startswith("class "):
            classes += _indented(lines, depth)
        else:
            module += _indented([_qualified(line, told) for line in lines], 1)
        if not depth and lines[0].startswith("class "):
            module += f"    {name}: type[tensorrt_api.{name}]\n"
    return f"{_HEAD}{classes}\n{module}"


def _indented(lines: Iterable[str], depth: int) -> str:
    return "".join(f"{' ' * 4 * depth}{line}\n" for line in lines)


def _qualified(line: str, names: Container[str]) -> str:
    """For use in ``class TensorRT``, where every name, ``bool`` too, is an attribute's."""

    def qualify(found: re.Match[str]) -> str:
        owner = "builtins" if found[0] == "bool" else "tensorrt_api"
        return f"{owner}.{found[0]}" if found[0] in names else found[0]

    return re.sub(r"(?<!def )(?<=[ \[])\w+", qualify, line)


def _definition(told: list[str], has_members: bool) -> Iterator[str]:
    """What a stub file says for the lines of one name."""
    name = listed_name(told[0]).rpartition(".")[2]
    for line in told:
        if len(told) > 1:
            yield "@overload"
        if line.startswith("class "):
            yield re.sub(r"class [\w.]+", f"class {name}", line) + (":" if has_members else ": ...")
        elif "(" in line:
            yield from _function(line)
        elif " -> " in line:
            yield "@property"
            yield f"def {name}(self) -> {_given(line.partition(' -> ')[2])}: ..."
        elif ": " in line:
            yield f"{name}: {_given(line.partition(': ')[2])}"
        else:  # a member of an enumeration, or another name of one
            kind = line.rpartition(" = ")[2].rpartition(".")[0]
            yield f"{name}: ClassVar[{kind}]"
    if name == "__getitem__":  # what can be indexed can be iterated (PEP 234)
        yield f"def __iter__(self) -> Iterator[{told[0].partition(' -> ')[2]}]: ..."


def _function(line: str) -> Iterator[str]:
    head, _, result = line.rpartition(" -> ")
    before, _, arguments = head.removesuffix(")").partition("(")
    owner, _, name = before.rpartition(".")
    given = _given(result) + (" | None" if name in _MAY_GIVE_NONE else "")
    if not owner or line.startswith("static "):
        yield "@staticmethod"
        yield f"def {name}({_taken(arguments)}) -> {given}: ..."
    else:
        yield f"def {name}(self{', ' * bool(arguments)}{_taken(arguments)}) -> {given}: ..."


def _taken(arguments: str) -> str:
    """Arguments as Python can declare them."""
    # A Dims is made of any sequence of numbers, says its docstring.
    parts = re.split(r", (?=\w+: )", re.sub(r"\bDims\b", "Dims | Sequence[int]", arguments))
    needed = max((at for at, part in enumerate(parts) if "= ..." not in part), default=0)
    parts[:needed] = [part.removesuffix(" = ...") for part in parts[:needed]]
    nameless = [at for at, part in enumerate(parts) if re.match(r"(arg\d+|in): ", part)]
    if nameless:  # not to be given by keyword
        parts.insert(nameless[-1] + 1, "/")
    return re.sub(r"\bin: ", "in_: ", ", ".join(parts))


def _given(told: str) -> str:
    """A type that is not told can be any."""
    return re.sub(r"\bobject\b", "Any", told)


if __name__ == "__main__":
    main()
