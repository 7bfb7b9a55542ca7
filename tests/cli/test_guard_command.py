"""``int8bench guard``: what is as expected, what is not, and what is bad input."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import guard
from bench.cli.expected import read_reference, write_reference
from bench.environment import CONF
from bench.results.row import Row
from bench.results.table import read_table
from tests.e2e.command import CUSTOM, probed_once
from tests.report.conftest import make_row, make_skip

Guard = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Guard:
    """``check(cases, verdicts, "--only=x")``: the exit status, and the lines that are printed."""

    def run(cases: Any, verdicts: Any = (), *options: str) -> tuple[int, list[str]]:
        path = tmp_path / "expected.yaml"
        path.write_text(yaml.safe_dump({"cases": cases, "verdicts": list(verdicts)}))
        capsys.readouterr()
        status = guard.main([str(path), f"--out={tmp_path / 'guard'}", *options])
        said = capsys.readouterr()
        return status, [*said.out.splitlines(), *said.err.splitlines()]

    return run


def case(name: str = "a", **changes: Any) -> dict[str, Any]:
    usual = {"overrides": "calibrator=minmax", "expect": {"int8": {"value": 0.5, "tolerance": 0.1}}}
    return {"name": name, **usual, **changes}


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, Row]:
    """The rows that cases give, by name, in place of runs."""
    given = {
        "a": make_row(calibrator="minmax", int8=0.55),
        "b": make_row(calibrator="entropy2", int8=0.30, delta=-0.3),
        "skipped": make_skip(),
    }
    monkeypatch.setattr(guard, "_run", lambda case, *rest: given[case.name])
    return given


def test_every_case_is_one_line_and_what_moved_is_listed(check, rows, tmp_path):
    status, lines = check(
        [
            case("a"),
            case("b"),
            case("skipped"),
        ]
    )
    assert status == 1
    assert lines[:3] == [
        "ok            a",
        "REGRESSION    b: int8 0.3, expected 0.5 \u00b1 0.1",
        "REGRESSION    skipped: skipped (no depthwise layers)",
    ]
    assert (tmp_path / "guard" / "regressions.txt").read_text().splitlines() == lines[1:3]
    assert lines[3].startswith("3 results checked, 2 not as expected: ")


def test_a_known_failure_does_not_fail_until_it_is_fixed(check, rows):
    status, lines = check([case("b", known_to_fail="it clips")])
    assert (status, lines[0]) == (
        0, "known to fail b: int8 0.3, expected 0.5 \u00b1 0.1 (it clips)",
    )  # fmt: skip
    status, lines = check([case("a", known_to_fail="it clips")])
    assert status == 1
    assert lines[0].startswith(
        "FIXED         a: as expected, although marked as known to fail (it clips). Rem"
    )


def test_a_part_is_chosen_by_name_and_texts_are_compared(check, rows, tmp_path):
    cases = [case("a", expect={"status": {"value": "ok"}}), case("b")]
    assert check(cases, (), "--only=a")[0] == 0
    assert (tmp_path / "guard" / "regressions.txt").read_text() == ""
    skipped = case("skipped", expect={"status": {"value": "skipped"}})
    assert check([skipped])[0] == 0


@pytest.mark.parametrize(
    ("verdict", "status", "line"),
    [
        ("supported on this model", 0, "ok            better"),
        ("undecided", 1, "REGRESSION    better: supported on this model, expected undecided."),
    ],
)
def test_a_verdict_that_moves_is_a_regression(check, rows, verdict, status, line):
    better = {
        "name": "better",
        "claim": "minmax_beats_entropy2_on_yolo",
        "cases": ["a", "b"],
        "verdict": verdict,
    }
    found, lines = check([case("a"), case("b")], [better], "--only=better")
    assert found == status
    assert lines[0].startswith(line)
    assert len(lines) == 2  # its cases are run, but nothing is said of them


@pytest.mark.parametrize(
    ("cases", "verdicts", "words"),
    [
        ([{"name": "a"}], [], "cases.0.overrides: Field required"),
        ([case(expect={"int9": {"value": 1}})], [], "int9 is not a column of the table"),
        ([case(expect={"int8": {"value": "x", "tolerence": 1}})], [], "Extra inputs"),
        ([case("a"), case("a")], [], "uses the name a twice"),
        ([case(overrides="model='x")], [], "No closing quotation"),
        ([], [{"name": "v", "claim": "no", "cases": [], "verdict": "x"}], "no is not a claim"),
        (
            [],
            [
                {
                    "name": "v",
                    "claim": "minmax_beats_entropy2_on_yolo",
                    "cases": ["z"],
                    "verdict": "x",
                }
            ],
            "verdict v names case z",
        ),
        ([case(overrides="calibrator=nonsense")], [], "case a: calibrator=nonsense is unknown"),
        ([case(overrides="calibration.size=none")], [], "case a: calibration.size=none is not a"),
        ([case("a")], [], "matches no case"),
    ],
)
def test_bad_input_is_one_line(check, cases, verdicts, words):
    only = ("--only=z",) if words == "matches no case" else ()
    status, lines = check(cases, verdicts, *only)
    assert status == 2
    (line,) = lines
    assert line.startswith("error: ")
    assert words in line


def test_a_case_is_run_once_and_a_sweep_writes_its_file(check, files, probes, tmp_path, capsys):
    overrides = [
        *(word.replace("FILES", str(files)) for word in CUSTOM),
        f"sweep.cache={tmp_path / 'cache'}", "calibration.size=4", "timing.rounds=1",
        "timing.seconds=0",
    ]  # fmt: skip
    tiny = case("tiny", overrides=shlex.join(overrides), expect={"fp32": {"value": -1}})
    with probed_once(probes):
        status, lines = check([tiny])
        (row,) = (tmp_path / "guard" / "rows").iterdir()
        written = row.stat().st_mtime_ns
        assert (status, lines[0].partition(",")[0][:23]) == (1, "REGRESSION    tiny: fp3")
        assert check([tiny])[0] == 1
    assert row.stat().st_mtime_ns == written


def test_a_folder_of_results_is_written_as_a_file_of_cases(tmp_path):
    """The record, whose rows say how they were made."""
    folder = CONF.parent / "results" / "reference" / "record" / "yolox_nano-coco"
    path = tmp_path / "expected.yaml"
    path.write_text(write_reference(read_table(folder), folder))
    reference = read_reference(path)
    table = read_table(folder)
    assert len(reference.cases) == (table["status"] == "ok").sum()
    assert reference.verdicts
    first = reference.cases[0]
    assert first.expect["int8"].value == pytest.approx(table["int8"][0], abs=1e-4)
    assert shlex.join(first.overrides) == table["overrides"][0]


def test_the_record_of_the_embedded_models_can_be_read():
    reference = read_reference(CONF.parent / "results" / "reference" / "expected.yaml")
    assert any(case.known_to_fail for case in reference.cases)
    assert reference.verdicts
