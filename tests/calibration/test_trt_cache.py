"""TensorRT's calibration caches: not a bit lost on the way through, not a fault let by."""

from __future__ import annotations

import contextlib
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.calibration.calibrator import SILENT_AMAX
from bench.calibration.trt_cache import (
    CalibrationCache,
    from_json,
    from_ranges,
    parse,
    to_json,
    version_digits,
)
from bench.cli.calibration_cache import main
from bench.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "trt_caches"
REAL_CACHES = ("calib_yolov3-tiny-int8-416", "calib_yolov4-int8-608", "retina_plate")

SMALL = (
    b"TRT-8501-EntropyCalibration2\nimages: 3c010a14\nconv: 3C010204\nzeros: 0\nhead: 4000889d\n"
)
HAND_MADE = {
    "small": SMALL,
    "header alone": b"TRT-8000-EntropyCalibration",
    "no line break at the end": SMALL.rstrip(),
    "several line breaks at the end": SMALL + b"\n\n",
    "Windows line breaks": SMALL.replace(b"\n", b"\r\n"),
    "names": (
        "TRT-101401-MinMaxCalibration\n(Unnamed Layer* 246) [PluginV2IOExt]_output_0: 3efa468d\n"
        "a: b: 3f800000\n : 3f800000\nmodel/conv:0: 3f800000\nx: 00000000: 3f800000\n"
        "Schicht ä\u2028\x85\x0b層: 3f800000\n"
    ).encode(),
    "the least and the largest": b"TRT-8601-X\na: 00000001\nb: 7f7fffff\nc: 00000000\n",
}

float32 = st.floats(0, width=32, allow_infinity=False, allow_nan=False)
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=40
)
versions = st.sampled_from(["7103", "8501", "8602", "100300", "101401"])
algorithms = st.sampled_from(["EntropyCalibration2", "EntropyCalibration", "MinMaxCalibration"])
amax = st.floats(0, 127 * float(np.finfo(np.float32).max), allow_nan=False)


def words() -> st.SearchStrategy[str]:
    written = float32.map(lambda scale: struct.pack(">f", scale).hex())
    return st.one_of(written, written.map(str.upper), st.just("0"))


@pytest.mark.parametrize("content", HAND_MADE.values(), ids=HAND_MADE)
def test_hand_made_caches_come_back_byte_for_byte(content: bytes) -> None:
    assert parse(content, "hand-made").to_bytes() == content


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "version", "concat", "inputs", "shared"),
    [
        ("retina_plate", "8501", "/ssh1/Concat_output_0",
         [f"/ssh1/{one}/Conv_output_0" for one in
          ("conv3X3/conv3X3.0", "conv5X5_2/conv5X5_2.0", "conv7x7_3/conv7x7_3.0")], False),
        ("calib_yolov3-tiny-int8-416", "7103", "021_route",
         ["020_upsample", "009_convolutional_lrelu"], True),
    ],
)  # fmt: skip
def test_a_concatenation_shared_its_scale_in_7_1_and_no_longer_in_8_5(
    name: str, version: str, concat: str, inputs: list[str], shared: bool
) -> None:
    """Why ranges are passed on through a Concat for no TensorRT that this harness runs."""
    path = REAL / f"{name}.cache"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    cache = parse(path.read_bytes(), name)
    assert cache.version == version  # TRT-8501 is 8.5.1
    assert [cache.words[own] == cache.words[concat] for own in inputs] == [shared] * len(inputs)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL_CACHES)
def test_real_caches_come_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    path = REAL / f"{name}.cache"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    content, copy = path.read_bytes(), tmp_path / "copy"
    cache = parse(content, name)
    assert cache.to_bytes() == content
    assert len(cache.words) == content.count(b"\n") - 1
    assert from_ranges(cache.amax, cache.version, cache.algorithm) == cache
    assert main(["rewrite", str(path), str(copy)]) == 0
    assert copy.read_bytes() == content
    assert main(["show", str(path)]) == 0
    assert main(["diff", str(path), str(copy)]) == 0


@settings(deadline=None)
@given(
    versions, algorithms, st.dictionaries(names, words()),
    st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\n", "\r\n", "\n\n"]),
)  # fmt: skip
def test_what_is_written_reads_as_the_same(
    version: str, algorithm: str, scales: dict[str, str], newline: str, tail: str
) -> None:
    newline = newline if scales or tail == newline else "\n"  # a lone header tells by its tail
    tail = tail if newline == "\n" or scales else newline
    cache = CalibrationCache(version, algorithm, scales, newline, tail)
    read = parse(cache.to_bytes(), "written")
    assert (read.version, read.algorithm) == (version, algorithm)
    assert list(read.words.items()) == list(scales.items())
    assert read.to_bytes() == cache.to_bytes()


@settings(deadline=None)
@given(st.dictionaries(names, amax), versions, algorithms)
@example({"x": 127 * float(np.finfo(np.float32).max), "y": 5e-324, "z: 3c010a14": 1.0}, "8501", "X")
def test_ranges_become_the_nearest_scales(
    ranges: dict[str, float], version: str, algorithm: str
) -> None:
    cache = from_ranges(ranges, version, algorithm)
    read = parse(cache.to_bytes(), "written")
    assert read == cache
    assert list(read.scales) == list(ranges)
    assert read.scales == {name: np.float32(value / 127) for name, value in ranges.items()}
    assert all(word == word.lower() and len(word) == 8 for word in cache.words.values())
    assert from_ranges(read.amax, version, algorithm) == cache, "amax keeps every bit"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_junk_is_refused_in_one_line(junk: bytes) -> None:
    with pytest.raises(DataError, match=r"^junk, line \d+: ") as refused:
        parse(junk, "junk")
    assert str(refused.value).isprintable()


@settings(deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(SMALL)))
def test_a_damaged_cache_is_refused_or_kept_as_it_is(damage: bytes, at: int) -> None:
    content = SMALL[:at] + damage + SMALL[at:]
    with contextlib.suppress(DataError):
        assert parse(content, "damaged").to_bytes() == content


def test_known_scales() -> None:
    cache = parse(SMALL, "small")
    assert (cache.version, cache.algorithm) == ("8501", "EntropyCalibration2")
    assert cache.scales["images"] == pytest.approx(0.0078759, abs=1e-7)
    assert cache.amax["images"] == pytest.approx(1.00024, abs=1e-5)
    assert cache.amax["images"] * 2048 == pytest.approx(2048.5, abs=1e-4)
    assert cache.amax["conv"] == pytest.approx(1.0, abs=1e-7)
    assert cache.scales["head"] == pytest.approx(2.008338, abs=1e-6)
    assert from_ranges({"x": 1.0}, "8.5.1", "EntropyCalibration2").words == {"x": "3c010204"}


def test_a_scale_of_zero_gives_no_range_or_the_usual_one() -> None:
    cache = parse(SMALL, "small")
    assert cache.amax["zeros"] == 0
    assert list(cache.ranges()) == ["images", "conv", "head"]
    assert dict(cache.complete_ranges()) == dict(cache.ranges()) | {"zeros": SILENT_AMAX}


@pytest.mark.parametrize(
    ("version", "digits"),
    [
        ("7.1.3", "7103"), ("8.5.1", "8501"), ("8.5.1.7", "8501"), ("8.6.2", "8602"),
        ("10.3.0", "100300"), ("10.14.1", "101401"), ("8601", "8601"), ("101401", "101401"),
    ],
)  # fmt: skip
def test_versions_become_digits(version: str, digits: str) -> None:
    assert version_digits(version) == digits
    assert from_ranges({}, version, "A").header == f"TRT-{digits}-A"


@pytest.mark.parametrize("version", ["", "8", "8.5", "8.x.1", "8.5.1rc1", "v8.5.1", "11.0.0"])
def test_versions_without_caches_are_refused(version: str) -> None:
    with pytest.raises(ConfigError, match=r"not a version of TensorRT|reads no caches"):
        version_digits(version)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e300])
def test_ranges_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="the scale of 'conv' is"):
        from_ranges({"conv": value}, "8.5.1", "EntropyCalibration2")


@pytest.mark.parametrize("name", ["", "a\nb", "a: 3c010a14\nb", "a\r"])
def test_names_that_do_not_fit_a_line_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="no cache can hold"):
        from_ranges({name: 1.0}, "8.5.1", "EntropyCalibration2")


@pytest.mark.parametrize("algorithm", ["", "Entropy Calibration", "2", "a\n"])
def test_algorithms_that_break_the_header_are_refused(algorithm: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a cache's header"):
        from_ranges({}, "8.5.1", algorithm)


HEAD = b"TRT-8501-EntropyCalibration2\n"
MALFORMED = {
    "empty": (b"", 1, "the cache is empty"),
    "blank": (b"\n \n", 1, "the cache is empty"),
    "no header": (b"images: 3c010a14\n", 1, "the header is missing before 'images: 3c010a14'"),
    "no version": (b"TRT-EntropyCalibration2\n", 1, "the header cannot be"),
    "dotted version": (b"TRT-8.5.1-EntropyCalibration2\n", 1, "the header cannot be"),
    "placeholder version": (b"TRT-8XXX-EntropyCalibration2\n", 1, "the header cannot be"),
    "no algorithm": (b"TRT-8501-\n", 1, "the header cannot be"),
    "foreign digits": ("TRT-٨٥٠١-EntropyCalibration2\n".encode(), 1, "the header cannot be"),
    "byte order mark": (b"\xef\xbb\xbf" + SMALL, 1, r"the header cannot be '\\ufeffTRT"),
    "blank line first": (b"\n" + SMALL, 1, "the header cannot be ''"),
    "no colon": (HEAD + b"a: 3c010a14\nimages 3c010a14\n", 3, "no ': ' before a scale"),
    "no space": (HEAD + b"images:3c010a14\n", 2, "no ': ' before a scale"),
    "blank line": (HEAD + b"a: 3c010a14\n\nb: 3c010a14\n", 3, "no ': ' before a scale in ''"),
    "no name": (HEAD + b": 3c010a14\n", 2, "no tensor before the scale"),
    "no scale": (HEAD + b"images: \n", 2, "'' is not hexadecimal"),
    "bad hex": (HEAD + b"images: 3c010a1g\n", 2, "'3c010a1g' is not hexadecimal"),
    "prefix": (HEAD + b"images: 0x3c0104\n", 2, "is not hexadecimal"),
    "decimal": (HEAD + b"images: 0.007875\n", 2, "is not hexadecimal"),
    "foreign hex": (HEAD + "images: ３c010a14\n".encode(), 2, "is not hexadecimal"),
    "space behind": (HEAD + b"images: 3c010a14 \n", 2, "is not hexadecimal"),
    "cut off": (HEAD + b"a: 3c010a14\nimages: 3c010", 3, "has 5 hexadecimal digits, not 8"),
    "too long": (HEAD + b"images: 3c010a140\n", 2, "has 9 hexadecimal digits, not 8"),
    "nan": (HEAD + b"images: 7fc00000\n", 2, "the scale of 'images' is nan"),
    "inf": (HEAD + b"images: 7f800000\n", 2, "the scale of 'images' is inf"),
    "negative": (HEAD + b"images: bc010a14\n", 2, r"the scale of 'images' is -0\.00787"),
    "twice": (HEAD + b"a: 3c010a14\na: 3c010a14\n", 3, "tensor 'a' comes twice"),
    "mixed breaks": (HEAD + b"a: 3c010a14\r\nb: 3c010a14\n", 2, "another kind of line break"),
    "mixed other way": (
        HEAD.replace(b"\n", b"\r\n") + b"a: 3c010a14\nb: 3c010a14\r\n", 2,
        "another kind of line break",
    ),
    "binary": (b"\x7fELF\x00\x00\x01", 1, "the header cannot be"),
    "binary inside": (HEAD + b"a: 3c010a14\n\xff\xfe\n", 3, "byte 0xff is not UTF-8 text"),
    "UTF-16": (SMALL.decode().encode("utf-16"), 1, "is not UTF-8 text"),
    "long": (b"x" * 10_000, 1, r"the header cannot be 'x{57}\.\.\.'"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "line", "what"), MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("command", ["show", "rewrite", "diff", "export"])
def test_malformed_caches_are_told_in_one_line(
    command: str,
    content: bytes,
    line: int,
    what: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad, other = tmp_path / "bad.cache", tmp_path / "other"
    bad.write_bytes(content)
    other.write_bytes(SMALL)
    rest = {"show": [], "export": ["--csv", str(other)]}.get(command, [str(other)])
    assert main([command, str(bad), *rest]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {bad}, line {line}: ")
    assert printed.err.count("\n") == 1 and printed.err.rstrip("\n").isprintable()
    with pytest.raises(DataError, match=what):
        parse(content, "bad")
    assert other.read_bytes() == SMALL, "nothing is written for a bad cache"


# --- dynamic ranges -------------------------------------------------------------------------------


@given(st.dictionaries(names, st.floats(1e-30, 1e30), min_size=1))
def test_dynamic_ranges_survive_json(ranges: dict[str, float]) -> None:
    assert dict(from_json(to_json(ranges).encode(), "x")) == ranges


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "x is not JSON"),
        (b"{}", "x has no dynamic ranges"),
        (b"[1]", "x has no dynamic ranges"),
        (b'{"a": 1}', r"the range of 'a' is '1', not \[-amax, amax\]"),
        (b'{"a": [-1, 2]}', r"the range of 'a' is '\[-1, 2\]', not"),
        (b'{"a": ["-1", "1"]}', "the range of 'a'"),
        (b'{"a": [0, 0]}', "the dynamic range of tensor 'a' is 0"),
    ],
)
def test_malformed_dynamic_ranges_are_told(content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        from_json(content, "x")
    assert "\n" not in str(error.value)
