"""The command line for caches and dynamic ranges."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.calibration.trt_cache import changed, from_ranges, parse, to_csv, to_json
from bench.cli.calibration_cache import main

ROOT = Path(__file__).parents[2]
HEAD = b"TRT-8501-EntropyCalibration2\n"
SMALL = HEAD + b"images: 3c010a14\nconv: 3C010204\nzeros: 0\nhead: 4000889d\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.cache"
    path.write_bytes(SMALL)
    return path


def test_show_prints_the_header_and_a_table(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(small)]) == 0
    header, titles, *rows = capsys.readouterr().out.splitlines()
    assert header == "TRT-8501-EntropyCalibration2"
    assert titles.split() == ["scale", "amax", "tensor"]
    assert [row.split() for row in rows] == [
        ["0.007875938", "1.000244", "images"],
        ["0.007874016", "1", "conv"],
        ["0", "0", "zeros"],
        ["2.008338", "255.059", "head"],
    ]


def test_names_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "escape"
    path.write_bytes(HEAD + b"\x1b[2J: 3c010a14\n")
    assert main(["show", str(path)]) == 0
    assert r"\x1b[2J" in capsys.readouterr().out


def test_rewrite_keeps_every_byte(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "copy.cache"
    assert main(["rewrite", str(small), str(target)]) == 0
    assert target.read_bytes() == SMALL
    assert main(["rewrite", str(target), str(target)]) == 0
    assert target.read_bytes() == SMALL


def test_diff_puts_the_farthest_apart_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    algorithm = "EntropyCalibration2"
    a = from_ranges(
        {"same": 1, "half": 4, "up": 1, "from0": 0, "to0": 1, "a only": 1}, "8501", algorithm
    )
    b = from_ranges(
        {"up": 3, "half": 2, "same": 1, "from0": 1, "to0": 0, "b only": 1}, "8501", algorithm
    )
    assert [(name, ratio) for name, _, _, ratio in changed(a, b)] == [
        ("from0", math.inf), ("to0", 0), ("up", pytest.approx(3)), ("half", pytest.approx(0.5)),
    ]  # fmt: skip
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, cache in zip(paths, (a, b), strict=True):
        path.write_bytes(cache.to_bytes())
    assert main(["diff", *map(str, paths)]) == 1
    titles, *rows = capsys.readouterr().out.splitlines()
    assert titles == "B / A            amax A           amax B           tensor"
    assert [row.split()[0] for row in rows[:4]] == ["inf", "0", "3", "0.5"]
    assert rows[4:] == ["only in A: a only", "only in B: b only", "4 of 5 tensors differ"]


def test_diff_does_not_mind_order_case_and_line_breaks(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *lines = SMALL.splitlines()
    other = tmp_path / "other"
    other.write_bytes(b"\r\n".join([head, *reversed(lines)]).replace(b"3C010204", b"3c010204"))
    assert main(["diff", str(small), str(other)]) == 0
    assert capsys.readouterr().out == "0 of 4 tensors differ\n"


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (b"8501", b"8601", "header: TRT-8501-EntropyCalibration2 in A, TRT-8601-"),
        (b"3c010a14", b"3c010a15", "1.00000012"),  # one bit
        (b"head: 4000889d\n", b"", "only in A: head"),
    ],
)
def test_diff_tells_the_smallest_difference(
    was: bytes, now: bytes, told: str, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = small.with_name("other")
    other.write_bytes(SMALL.replace(was, now))
    assert main(["diff", str(small), str(other)]) == 1
    assert told in capsys.readouterr().out


def test_ranges_are_exported_as_json(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranges.json"
    assert main(["export", str(small), "--json", str(out)]) == 0
    cache = parse(SMALL, "small")
    assert json.loads(out.read_text()) == {n: [-x, x] for n, x in cache.ranges().items()}
    assert json.loads(to_json({})) == {}


def test_the_table_of_amax_is_exported_as_csv(tmp_path: Path) -> None:
    content = HEAD + 'a, "b"\x0bä: 3C010204\nzeros: 0\n'.encode()
    source, out = tmp_path / "in", tmp_path / "amax.csv"
    source.write_bytes(content)
    assert main(["export", str(source), "--csv", str(out)]) == 0
    cache = parse(content, "in")
    text = out.read_bytes().decode()
    assert text == to_csv(cache)
    titles, first, second = csv.reader(text.split("\n")[:-1])
    assert titles == ["tensor", "amax", "scale", "hex"]
    assert first == ['a, "b"\x0bä', first[1], first[2], "3C010204"]
    assert float(first[1]) == cache.amax['a, "b"\x0bä']
    assert np.float32(first[2]) == cache.scales['a, "b"\x0bä']
    assert second == ["zeros", "0.0", "0.0", "0"]


def test_a_run_s_ranges_become_a_cache(tmp_path: Path) -> None:
    """What a sweep keeps of a run, as TensorRT up to 10 would read it."""
    source, out = tmp_path / "ranges.json", tmp_path / "mse.cache"
    source.write_text(to_json({"images": 1.0, "conv_out": 3.5}))
    assert main(["export", str(source), "--cache", str(out), "--tensorrt", "8.5.1"]) == 0
    cache = parse(out.read_bytes(), "out")
    assert cache.header == "TRT-8501-EntropyCalibration2"
    assert cache.amax == pytest.approx({"images": 1.0, "conv_out": 3.5})
    options = ["--tensorrt", "10.3.0", "--algorithm", "MinMaxCalibration"]
    assert main(["export", str(out), "--cache", str(out), *options]) == 0
    again = parse(out.read_bytes(), "out")
    assert (again.header, again.words) == ("TRT-100300-MinMaxCalibration", cache.words)
    table = tmp_path / "amax.csv"
    assert main(["export", str(source), "--csv", str(table)]) == 0
    assert [line.split(",")[0] for line in table.read_text().split()] == [
        "tensor", "images", "conv_out",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "arguments are required"),
        (["shwo", "x"], "invalid choice"),
        (["show"], "arguments are required: FILE"),
        (["show", "{here}/missing"], "missing: No such file or directory"),
        (["show", "{here}"], "Is a directory"),
        (["rewrite", "{cache}", "{here}"], "Is a directory"),
        (["rewrite", "{cache}", "{cache}/below"], "small.cache: "),
        (["export", "{cache}"], "one of the arguments --json --csv --cache is required"),
        (["export", "{cache}", "--json", "x", "--csv", "y"], "not allowed with"),
        (["export", "{ranges}", "--cache", "x"], "Add --tensorrt 8.6.1"),
        (["export", "{ranges}", "--cache", "x", "--tensorrt", "11.4.0"], "reads no caches"),
        (["export", "{here}", "--json", "x"], "Is a directory"),
        (["show", "{cache}", "--nope"], "unrecognized arguments"),
    ],
)
def test_wrong_commands_are_told_in_one_line(
    arguments: list[str], told: str, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = small.parent / "folder"
    here.mkdir()
    ranges = small.with_name("ranges.json")
    ranges.write_text(to_json({"images": 1.0}))
    given = [part.format(here=here, cache=small, ranges=ranges) for part in arguments]
    assert main(given) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("error: ") and told in printed.err


def from_the_shell(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("CACHE", f"'{sys.executable}' -m bench cache")
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, **env}, timeout=120, check=False,
    )  # fmt: skip


def test_from_the_shell(small: Path) -> None:
    other = small.with_name("other")
    other.write_bytes(HEAD + "ä: 3c010a14\n".encode())
    shown = from_the_shell(f"CACHE show {other}", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.endswith(r" \xe4" + "\n")
    assert from_the_shell(f"CACHE diff {small} {other}").returncode == 1
    refused = from_the_shell(f"CACHE show {small}.not")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"error: {small}.not: No such file or directory. Check the path\n"


def test_head_may_stop_reading(tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.write_bytes(from_ranges({f"t{i}": 1 for i in range(20_000)}, "8501", "X").to_bytes())
    ended = from_the_shell(f"CACHE show {many} | head -1")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "TRT-8501-X\n", "")
