"""TensorRT's calibration cache: read, written, compared and exported without losing a bit.

A cache is text. Its first line names TensorRT's version and the calibrator; every other line gives
one tensor's scale as the eight hexadecimal digits of a big-endian IEEE float32::

    TRT-8501-EntropyCalibration2
    input: 3c010a14

Here the scale is 0.0078759 and the clipping threshold amax = 127 x scale = 1.00024, in the tensor's
unit. (NVIDIA ModelOpt unpacks the digits as ``!f``; trtexec sets the range +-127 x scale; ONNX
Runtime's TensorRT provider documents ``data_0: 4000889d`` as 2.008338.) A name may hold anything
but a line break; the last ": " ends it. A tensor that was zero throughout has scale 0, which
TensorRT also writes as a single digit (``366: 0``, seen in a cache of 8.4.1).

TensorRT takes a cache only if the header has its version and its calibrator; otherwise it
calibrates again. It cannot detect that the data changed: it only compares names.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.calibration.calibrator import DynamicRanges, completed
from bench.errors import ConfigError, DataError

INT8_MAX = 127
_HEADER = re.compile(r"TRT-([0-9]+)-([A-Za-z][A-Za-z0-9]*)")
_HEADER_MEND = "The first line must be like TRT-8501-EntropyCalibration2"
_LINE_MEND = "Write every tensor as 'name: 3c010a14', or calibrate again"


@dataclass(frozen=True)
class CalibrationCache:
    """One cache; ``parse(content, where).to_bytes() == content`` for every content it takes."""

    version: str  # the digits of the header, see version_digits
    algorithm: str  # as TensorRT says: EntropyCalibration2, EntropyCalibration, MinMaxCalibration
    words: Mapping[str, str]  # each tensor's scale in hexadecimal, as written and in that order
    newline: str = "\n"
    tail: str = "\n"  # the line breaks after the last line: none, one or several

    @property
    def header(self) -> str:
        """The first line."""
        return f"TRT-{self.version}-{self.algorithm}"

    @property
    def scales(self) -> dict[str, np.float32]:
        """One INT8 step of each tensor, in its unit; 0 if it was zero throughout."""
        return {name: _float32(word) for name, word in self.words.items()}

    @property
    def amax(self) -> dict[str, float]:
        """127 x scale of each tensor, exactly; 0 if it was zero throughout."""
        return {name: INT8_MAX * float(scale) for name, scale in self.scales.items()}

    def ranges(self) -> DynamicRanges:
        """The tensors' dynamic ranges, without those of scale 0: there nothing was measured."""
        return DynamicRanges({name: amax for name, amax in self.amax.items() if amax > 0})

    def complete_ranges(self) -> DynamicRanges:
        """The same with ``SILENT_AMAX`` for scale 0.

        A Q/DQ scale must be positive. TensorRT itself has no answer to follow: it refuses to build
        with a scale of 0 (NVIDIA/TensorRT issues 3020 and 4446).
        """
        return completed(self.amax)

    def to_bytes(self) -> bytes:
        """The content of the file."""
        lines = [self.header, *(f"{name}: {word}" for name, word in self.words.items())]
        return (self.newline.join(lines) + self.tail).encode()


def parse(content: bytes, where: str) -> CalibrationCache:
    """Read a cache; DataError says where (``where``, the line) and how it is malformed."""
    if not content.strip():
        raise DataError(f"{where}, line 1: the cache is empty", _HEADER_MEND)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        what = f"{where}, line {number}: byte 0x{content[error.start]:02x} is not UTF-8 text"
        raise DataError(what, "Give a calibration cache, not an engine or a model") from None
    body = text.rstrip("\r\n")
    newline = "\r\n" if body.partition("\n")[0].endswith("\r") else "\n"
    first, *lines = body.split(newline)
    header = _HEADER.fullmatch(first)
    if not header:
        what = "the header cannot be" if _fault(first) else "the header is missing before"
        raise DataError(f"{where}, line 1: {what} {_quoted(first)}", _HEADER_MEND)
    words: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        name, _, word = line.rpartition(": ")
        fault = _fault(line) or (f"tensor {_quoted(name)} comes twice" if name in words else "")
        if fault:
            raise DataError(f"{where}, line {number}: {fault}", _LINE_MEND)
        words[name] = word
    return CalibrationCache(header[1], header[2], words, newline, text[len(body) :])


def _fault(line: str) -> str:
    """What is wrong with a tensor's line, or ""."""
    name, colon, word = line.rpartition(": ")
    if "\n" in line or "\r" in line:
        return f"another kind of line break in {_quoted(line)}"
    if not colon:
        return f"no ': ' before a scale in {_quoted(line)}"
    if not name:
        return f"no tensor before the scale {_quoted(word)}"
    if not re.fullmatch("[0-9a-fA-F]+", word):
        return f"the scale {_quoted(word)} is not hexadecimal"
    if len(word) != 8 and word != "0":
        return f"the scale {_quoted(word)} has {len(word)} hexadecimal digits, not 8"
    if not 0 <= _float32(word) < math.inf:
        return f"the scale of {_quoted(name)} is {_float32(word)}, neither positive nor zero"
    return ""


def from_ranges(ranges: Mapping[str, float], version: str, algorithm: str) -> CalibrationCache:
    """The cache that gives every tensor its clipping threshold amax >= 0: scale = amax / 127.

    ``version`` is that of the TensorRT to read it, such as "8.6.1". It knows no algorithm like our
    percentile or mse: name that of the calibrator which is going to be set on the builder.
    """
    with np.errstate(over="ignore"):  # a range too large for float32 becomes a scale of inf
        scales = {name: np.array(amax / INT8_MAX, ">f4") for name, amax in ranges.items()}
    words = {name: scale.tobytes().hex() for name, scale in scales.items()}
    for name, word in words.items():
        if fault := _fault(f"{name}: {word}"):
            raise DataError(f"no cache can hold this range: {fault}", "Calibrate again")
    cache = CalibrationCache(version_digits(version), algorithm, words)
    if not _HEADER.fullmatch(cache.header):
        raise ConfigError(f"{_quoted(cache.header)} cannot be a cache's header", _HEADER_MEND)
    return cache


def version_digits(version: str) -> str:
    """TensorRT's version as headers have it: 8.5.1 -> 8501, 10.3.0 -> 100300; digits stay.

    That is NV_TENSORRT_VERSION, whose major counts 1000 before TensorRT 10 and 10000 since.
    """
    if re.fullmatch("[0-9]{4,6}", version):
        return version
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){2,}", version):
        raise ConfigError(f"{_quoted(version)} is not a version of TensorRT", "Write it like 8.6.1")
    major, minor, patch = map(int, version.split(".")[:3])
    if major > 10:
        raise ConfigError(f"TensorRT {version} reads no caches", "Give it ONNX with Q/DQ instead")
    return str(major * (10000 if major == 10 else 1000) + minor * 100 + patch)


def to_json(ranges: Mapping[str, float]) -> str:
    """Tensor -> [-amax, amax], the arguments of TensorRT's ``ITensor.set_dynamic_range``."""
    lines = (f"  {json.dumps(name)}: {json.dumps([-amax, amax])}" for name, amax in ranges.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def from_json(content: bytes, where: str) -> DynamicRanges:
    """Read what ``to_json`` writes; DataError says where and what is wrong."""
    fix = 'Give a file like {"images": [-1.0, 1.0]}, as a sweep stores them under ranges/'
    try:
        read = json.loads(content)
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error})", fix) from None
    if not isinstance(read, dict) or not read:
        raise DataError(f"{where} has no dynamic ranges", fix)
    amax = {}
    for name, ends in read.items():
        match ends:
            case [int() | float() as low, int() | float() as high] if low == -high:
                amax[name] = float(high)
            case _:
                what = f"the range of {_quoted(name)} is {_quoted(json.dumps(ends))}"
                raise DataError(f"{where}: {what}, not [-amax, amax]", fix)
    return DynamicRanges(amax)


def to_csv(cache: CalibrationCache) -> str:
    """Every tensor, those of scale 0 too; amax and scale in the shortest digits that are exact."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["tensor", "amax", "scale", "hex"])
    amax, scales = cache.amax, cache.scales
    writer.writerows([name, amax[name], scales[name], word] for name, word in cache.words.items())
    return table.getvalue()


def changed(a: CalibrationCache, b: CalibrationCache) -> list[tuple[str, float, float, float]]:
    """(tensor, amax in a, amax in b, b / a) wherever they differ, the farthest apart first."""
    ours, theirs = a.amax, b.amax
    both = [(name, x, theirs[name]) for name, x in ours.items() if name in theirs]
    rows = [(name, x, y, y / x if x > 0 else math.inf) for name, x, y in both if x != y]
    return sorted(rows, key=lambda row: -abs(math.log(row[3])) if row[3] > 0 else -math.inf)


def _float32(word: str) -> np.float32:
    return np.float32(struct.unpack(">f", bytes.fromhex(word.zfill(8)))[0])


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
