"""Every name of TensorRT that we use exists in every version that we use it with.

The lists under ``tensorrt_api`` are of the real bindings; ``scripts/tensorrt_api.py`` made them.
Here an object is known by what our code calls it; ``test_trt_types.py`` knows its type.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.engine import trt as package
from bench.engine.trt.calibrator import Feeding, Reading
from bench.engine.trt.version import GATED
from scripts.tensorrt_stubs import LISTS, listed_name

CODE = Path(str(package.__file__)).parent
RTX = "rtx-1.7.1.116"
VERSIONS = {
    "8.5.1.7": (8, 5),
    "8.6.0": (8, 6),
    "10.16.1.11": (10, 16),
    "11.4.0.106": (11, 4),
    RTX: (1, 7),
}
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


def available(version: str) -> set[str]:
    return {listed_name(line) for line in (LISTS / f"{version}.txt").read_text().splitlines()}


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


def missing(source: str, version: str) -> set[str]:
    """The names that a module uses and this version has not, gates kept in mind."""
    names = available(version)
    return {name for name in used(source) if name not in names and is_open(name, version)}


def is_open(name: str, version: str) -> bool:
    first, last = GATED.get(name, ((0, 0), (99, 99)))
    return first <= VERSIONS[version] <= last


OURS = {path.name: path.read_text() for path in sorted(CODE.glob("*.py"))}
FOR_RTX = (
    "cuda.py", "inspector.py", "messages.py", "rtx.py", "runtime.py", "session.py",
)  # fmt: skip
USES = [
    (version, module)
    for version in VERSIONS
    for module in (FOR_RTX if version == RTX else set(OURS) - {"rtx.py"})
]


@pytest.mark.parametrize(("version", "module"), sorted(USES))
def test_every_name_exists(version: str, module: str) -> None:
    assert missing(OURS[module], version) == set()


@pytest.mark.parametrize("version", list(VERSIONS)[:3])
@pytest.mark.parametrize(
    "kind", ["MinMaxCalibrator", "EntropyCalibrator", "EntropyCalibrator2", "LegacyCalibrator"]
)
@pytest.mark.parametrize("ours", [Feeding, Reading])
def test_our_calibrators_override_what_there_is(ours: type, kind: str, version: str) -> None:
    owner = f"IInt8{kind}."
    theirs = {name.removeprefix(owner) for name in available(version) if name.startswith(owner)}
    assert len(theirs) > 4
    assert theirs - {"get_algorithm"} <= set(vars(ours))  # each class knows its own


def test_the_names_are_found_at_all() -> None:
    everything = {name for source in OURS.values() for name in used(source)}
    assert len(everything) > 60
    assert {"Builder", "BuilderFlag.INT8", "IExecutionContext.execute_async_v3"} <= everything
    assert missing("trt.BuilderFlag.INT9\nself._context.execute_v9()", "8.5.1.7") == {
        "BuilderFlag.INT9",
        "IExecutionContext.execute_v9",
    }
