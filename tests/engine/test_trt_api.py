"""Our calibrators against the names of each version of TensorRT.

The lists under ``tensorrt_api`` are of the real bindings; ``scripts/tensorrt_api.py`` made them.
That every other name we use exists is tested by types, in ``test_trt_types.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.engine import trt as package
from bench.engine.trt.native_calibrator import Feeding, Reading
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


def available(version: str) -> set[str]:
    return {listed_name(line) for line in (LISTS / f"{version}.txt").read_text().splitlines()}


def is_open(name: str, version: str) -> bool:
    first, last = GATED.get(name, ((0, 0), (99, 99)))
    return first <= VERSIONS[version] <= last


OURS = sorted(path.name for path in CODE.glob("*.py"))
FOR_RTX = (
    "build_log.py", "cuda.py", "inspector.py", "layer_profile.py", "rtx.py", "runtime.py",
    "session.py",
)  # fmt: skip


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
