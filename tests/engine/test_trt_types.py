"""mypy on all that talks to TensorRT, with the types of each version that we use it with.

The types are what the docstrings of the real bindings tell (``tensorrt_api``), as stub files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bench.engine.trt.version import GATED
from scripts.tensorrt_stubs import LISTS, ROOT, STUBS, merged, stubs
from tests.engine.test_trt_api import CODE, FOR_RTX, OURS, RTX, VERSIONS, is_open

Check = Callable[[str], list[str]]

_MYPY = (sys.executable, "-m", "mypy", "--follow-imports=silent")
_MISSING = re.compile(
    r'"(?:type\[)?(?P<owner>\w+)\]?" has no attribute "(?P<name>\w+)"'
    r'|Class cannot subclass "(?P<base>\w+)" \(has type "Any"\)'
)

_TALK = """
from tensorrt_api import IBuilderConfig, ICudaEngine, TensorRT

from bench.engine.trt.native_calibrator import Feeding
from bench.engine.trt.build_log import open_log
from bench.engine.trt.network import make_builder, parse_network


class Strange(Feeding):
    def get_batch_size(self) -> str: ...  # WRONG


def talk(trt: TensorRT, config: IBuilderConfig, engine: ICudaEngine) -> None:
    log = open_log(trt)
    builder = make_builder(trt, log)
    network = builder.create_network(0)
    tensor = network.get_input(index=0)
"""
RIGHT = (
    "builder.create_network()",
    "bytes(builder.build_serialized_network(network, config)).decode()",
    "config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED",
    "sum(tensor.shape)",
    "trt.TacticSource.__members__['CUBLAS'].name.lower()",
    "trt.OnnxParser(network, log).parse(b'')",
)
WRONG = {
    "builder.create_netwrok(0)": 'has no attribute "create_netwrok"',
    "trt.BuilderFlag.INT9": 'has no attribute "INT9"',
    "trt.Bilder(log)": 'has no attribute "Bilder"',
    "tensor.dtype.named": 'has no attribute "named"',
    "builder.create_network(0, 1)": "Too many arguments",
    "builder.create_network(flag=0)": "Unexpected keyword argument",
    "trt.OnnxParser(network)": "Missing positional argument",
    "builder.create_network('strong')": 'incompatible type "str"; expected "int"',
    "trt.OnnxParser(log, network)": 'expected "INetworkDefinition"',
    "engine.get_tensor_dtype(0)": 'incompatible type "int"; expected "str"',
    "config.profiling_verbosity = 2": "Incompatible types in assignment",
    "network.num_layers = 2": "read-only",
    "sum(tensor.name)": "incompatible type",
    "network.get_layer(0).type == trt.DataType.FLOAT": "Non-overlapping equality check",
}


TALK = "talk.py"
SOURCE = _TALK + "".join(
    [f"    {line}\n" for line in RIGHT] + [f"    {line}  # WRONG\n" for line in WRONG]
)


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """What mypy says of our files and of ``TALK`` with the stubs of a version; the same again costs
    nothing."""
    folder = tmp_path_factory.mktemp("mypy")
    talk = folder / TALK
    talk.write_text(SOURCE)

    @cache
    def errors(version: str) -> list[str]:
        typings = folder / version / STUBS.name
        typings.parent.mkdir()
        typings.write_text(stubs((LISTS / f"{version}.txt").read_text()))
        command = [
            *_MYPY, f"--cache-dir={folder / 'cache'}", typings, talk, *files(version)
        ]  # fmt: skip
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 1, ended.stdout + ended.stderr
        return [line for line in ended.stdout.splitlines() if ": error: " in line]

    return errors


def of_ours(errors: list[str]) -> list[str]:
    return [error for error in errors if not is_of_talk(error)]


def is_of_talk(error: str) -> bool:
    return Path(error.partition(":")[0]).name == TALK


def files(version: str) -> list[Path]:
    """What is used with this version."""
    if version == RTX:
        return [CODE / name for name in FOR_RTX]
    others = [ROOT / "bench" / name for name in ("deploy/build_engine.py", "doctor/trt.py")]
    return [*others, *(CODE / name for name in OURS if name != "rtx.py")]


def missing(error: str) -> str | None:
    """BuilderFlag.INT8, where an error says that there is none."""
    found = _MISSING.search(error)
    if not found:
        return None
    if found["owner"] in (None, "TensorRT", STUBS.stem):
        return found["base"] or found["name"]
    return f"{found['owner']}.{found['name']}"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_has_not_is_behind_a_gate(version: str, check: Check) -> None:
    errors = of_ours(check(version))
    assert [e for e in errors if missing(e) not in GATED or is_open(str(missing(e)), version)] == []


def test_no_gate_is_for_nothing(check: Check) -> None:
    assert {missing(e) for version in VERSIONS for e in of_ours(check(version))} == {*GATED}


@pytest.mark.parametrize("version", VERSIONS)
def test_mistakes_are_found(version: str, check: Check) -> None:
    errors = [error for error in check(version) if is_of_talk(error)]
    wrong = {at for at, line in enumerate(SOURCE.splitlines(), 1) if line.endswith("# WRONG")}
    assert {int(re.findall(r":(\d+): ", error)[0]) for error in errors} == wrong
    assert not [told for told in WRONG.values() if not any(told in error for error in errors)]


def test_lint_has_the_types_of_all_versions() -> None:
    assert STUBS.read_text() == merged(), "run python scripts/tensorrt_stubs.py"
