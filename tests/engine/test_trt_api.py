"""Every name of TensorRT that we use exists in every version that we use it with.

The lists under ``tensorrt_api`` are of the real bindings; ``scripts/tensorrt_api.py`` made them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.engine import trt as package
from bench.engine.trt.version import GATED

LISTS = Path(__file__).with_name("tensorrt_api")
CODE = Path(str(package.__file__)).parent
VERSIONS = {"8.5.1.7": (8, 5), "8.6.0": (8, 6), "10.16.1.11": (10, 16), "11.4.0.106": (11, 4)}
KINDS = {
    "builder": "Builder",
    "complaint": "ParserError",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "engine": "ICudaEngine",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "tensor": "ITensor",
    "timings": "ITimingCache",
}
"""What our variables are called that hold an object of TensorRT's."""


def available(version: str) -> dict[str, list[str] | None]:
    """Name -> its arguments, None where the bindings tell none."""
    found: dict[str, list[str] | None] = {}
    for line in (LISTS / f"{version}.txt").read_text().splitlines():
        name, bracket, rest = line.partition("(")
        found[name] = [a for a in rest.rstrip(")").split(", ") if a] if bracket else None
    return found


def chain(node: ast.expr) -> list[str]:
    """``trt.BuilderFlag.INT8`` -> its three parts; [] for anything but names and dots."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := chain(node.value)):
        return [*before, node.attr]
    return []


def name_of(node: ast.expr) -> str | None:
    """What TensorRT calls this expression: BuilderFlag.INT8, ILayer.precision; None for ours."""
    parts = chain(node)
    if parts[:1] == ["trt"] or parts[:2] == ["self", "_trt"]:
        own = parts[1:] if parts[0] == "trt" else parts[2:]
        return ".".join(part for part in own[:2] if not part.startswith("__")) or None
    kind = KINDS.get(parts[-2].lstrip("_")) if len(parts) > 1 else None
    return f"{kind}.{parts[-1]}" if kind else None


def used(source: str) -> Iterator[str]:
    """Every name of TensorRT's in a module, the class of a member too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (name := name_of(node)):
            yield name


def calls(source: str) -> Iterator[tuple[str, int, list[str]]]:
    """Name, number of plain arguments and keywords of every call of TensorRT's."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (name := name_of(node.func)):
            if chain(node.func)[-1] == "__init__":
                continue
            plain = sum(not isinstance(argument, ast.Starred) for argument in node.args)
            yield name, plain, [word.arg or "" for word in node.keywords]


def missing(source: str, version: str) -> set[str]:
    """The names that a module uses and this version has not, gates kept in mind."""
    names = available(version)
    return {name for name in used(source) if name not in names and is_open(name, version)}


def is_open(name: str, version: str) -> bool:
    first, last = GATED.get(name, ((0, 0), (99, 99)))
    return first <= VERSIONS[version] <= last


_FILES = sorted(path for path in CODE.glob("*.py") if path.name != "rtx.py")
OURS = {path.name: path.read_text() for path in _FILES}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("module", OURS)
def test_every_name_exists(module: str, version: str) -> None:
    assert missing(OURS[module], version) == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_call_has_arguments_that_exist(version: str) -> None:
    names, looked = available(version), 0
    for source in OURS.values():
        for name, plain, keywords in calls(source):
            arguments = names.get(name)
            if arguments is not None and is_open(name, version):
                looked += 1
                assert plain + len(keywords) <= len(arguments), name
                assert set(keywords) <= set(arguments), name
    assert looked > 15


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_behind_a_gate_exists_where_it_is_open(version: str) -> None:
    names = available(version)
    assert {name for name in GATED if is_open(name, version)} <= set(names)


def test_no_gate_is_for_nothing() -> None:
    everything = {name for source in OURS.values() for name in used(source)}
    assert set(GATED) <= everything
    for name in GATED:
        closed = [version for version in VERSIONS if not is_open(name, version)]
        assert closed, name


@pytest.mark.parametrize("version", list(VERSIONS)[:3])
@pytest.mark.parametrize(
    "kind", ["MinMaxCalibrator", "EntropyCalibrator", "EntropyCalibrator2", "LegacyCalibrator"]
)
def test_our_calibrators_override_what_there_is(version: str, kind: str) -> None:
    names = available(version)
    theirs = {
        name.partition(".")[2]: arguments
        for name, arguments in names.items()
        if name.startswith(f"IInt8{kind}.")
    }
    tree = ast.parse(OURS["calibrator.py"])
    for name in ("Feeding", "Reading"):
        (ours,) = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == name]
        methods = {f.name: f for f in ours.body if isinstance(f, ast.FunctionDef)}
        for method, arguments in theirs.items():
            if method == "get_algorithm":  # each class knows its own
                continue
            assert [a.arg for a in methods[method].args.args[1:]] == arguments


def test_the_names_are_found_at_all() -> None:
    everything = {name for source in OURS.values() for name in used(source)}
    assert len(everything) > 60
    assert {"Builder", "BuilderFlag.INT8", "IExecutionContext.execute_async_v3"} <= everything
    assert missing("trt.BuilderFlag.INT9\nself._context.execute_v9()", "8.5.1.7") == {
        "BuilderFlag.INT9",
        "IExecutionContext.execute_v9",
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_list_is_one_of_names(version: str) -> None:
    lines = (LISTS / f"{version}.txt").read_text().splitlines()
    assert len(lines) > 1000
    assert all(re.fullmatch(r"\w+(\.\w+)?(\([\w, ]*\))?", line) for line in lines)
