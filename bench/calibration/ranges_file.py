"""Dynamic ranges that another tool computed, in place of a calibrator.

Four formats, recognised by their content:

- TensorRT's calibration cache (also ModelOpt's and trtexec's): ``bench.calibration.trt_cache``;
- ``{"images": [-1.0, 1.0]}``, as a sweep stores them under ``ranges/``;
- ONNX Runtime's ``calibration.json`` (``write_calibration_table``: "lowest" and "highest" of each
  tensor; amax is the larger magnitude);
- ONNX Runtime's ``calibration.cache``: one line per tensor, its name and the largest magnitude.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.calibration.calibrator import DynamicRanges, completed
from bench.calibration.statistics import Snapshot
from bench.calibration.tool_file import ToolFile
from bench.calibration.trt_cache import from_json, parse
from bench.errors import DataError

_FIX = "Give a TensorRT calibration cache, or the JSON or cache that a quantizer wrote"

MOST_BYTES = 100 * 2**20


@dataclass(frozen=True)
class RangesFile(ToolFile):
    """A file of ranges. Tensors of the model without a range in the file stay in float; those with
    a range of 0, which were zero throughout, get ``SILENT_AMAX``, as with every calibrator here.

    Raises DataError for a file that has no ranges.
    """

    ranges: DynamicRanges = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        file = Path(self.path)
        if file.stat().st_size > MOST_BYTES:
            raise DataError(f"{file} is too large for a file of ranges", _FIX)
        object.__setattr__(self, "ranges", read_ranges(file.read_bytes(), self.path))

    def amax(self, snapshot: Snapshot) -> float:
        """The file's range of this tensor; DataError where it has none."""
        if snapshot.name not in self.ranges:
            raise DataError(f"{self.path} has no range for tensor '{snapshot.name}'", _FIX)
        return self.ranges[snapshot.name]


def read_ranges(content: bytes, where: str) -> DynamicRanges:
    """The dynamic ranges in a file's content; DataError says what is wrong with it."""
    start = content.lstrip()[:4]
    if start.startswith(b"TRT-"):
        return _completed(parse(content, where).amax, where)
    if start.startswith(b"{"):
        return _from_json(content, where)
    return _from_lines(content, where)


def _from_json(content: bytes, where: str) -> DynamicRanges:
    try:
        read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error})", _FIX) from None
    tensors = read.get("data", read) if isinstance(read.get("data"), dict) else read
    if not all(isinstance(value, dict) for value in tensors.values()):
        return from_json(content, where)
    return _completed(
        {name: _largest(value, name, where) for name, value in tensors.items()}, where
    )


def _largest(value: Mapping[str, Any], name: str, where: str) -> float:
    """The larger magnitude of ONNX Runtime's "lowest" and "highest"."""
    data = value.get("data", value)
    ends = [_number(data.get(end)) for end in ("lowest", "highest")] if data else []
    if not ends or not all(map(math.isfinite, ends)):
        raise DataError(f"{where}: tensor '{name}' has no lowest and highest value", _FIX)
    return max(map(abs, ends))


def _number(value: Any) -> float:
    """A number, or the only one of a stored array; nan for anything else."""
    while isinstance(value, (dict, list)):
        if isinstance(value, list) and len(value) != 1:
            return math.nan
        value = value[0] if isinstance(value, list) else value.get("data")
    return float(value) if isinstance(value, (int, float)) else math.nan


def _from_lines(content: bytes, where: str) -> DynamicRanges:
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{where} is not text", _FIX) from None
    ranges = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, _, word = line.strip().rpartition(" ")
        amax = _parsed(word)
        if not name or not math.isfinite(amax):
            raise DataError(f"{where}, line {number}: no tensor's name and range", _FIX)
        ranges[name] = abs(amax)
    return _completed(ranges, where)


def _parsed(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _completed(amax: Mapping[str, float], where: str) -> DynamicRanges:
    """The ranges, with ``SILENT_AMAX`` for 0; DataError where no tensor has one."""
    if not any(amax.values()):
        raise DataError(f"{where} has no dynamic ranges", _FIX)
    return completed(amax)
