"""Claims judged on a folder: the record, the report, the script."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from bench.__main__ import main
from bench.claims.claim import load_claims
from bench.claims.judgements import Judgements
from bench.claims.record import read_references, read_verdicts, write_claims
from bench.claims.reference import compare_references, load_references
from bench.claims.verdict import Verdict
from bench.errors import DataError
from bench.report.page import redraw_report
from bench.results.table import make_table, read_table, write_table
from tests.claims.made import pair


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(make_table(pair(0.2, plan="all") + pair(0.1, plan="float_head")), tmp_path)
    return tmp_path


def judged(folder: Path) -> tuple[Verdict, ...]:
    return write_claims(folder, read_table(folder), Judgements(folder))


def test_the_record_has_its_schema(folder):
    verdicts = judged(folder)
    content = json.loads((folder / "claims.json").read_text())
    assert [one["id"] for one in content] == [own.id for own in load_claims()]
    keys = set(pd.read_csv(folder / "table.csv")["run_key"])
    kinds = (
        r"(supported|refuted) (in part|on .+)|undecided|not measured|never seen here|depends on .+"
    )
    for one in content:
        assert re.fullmatch(kinds, one["verdict"])
        assert isinstance(one["statement"], str) and one["source"]
        assert set(one["rows"]) <= keys
        assert (
            (one["effect_low"] is None) == (one["verdict"] == "not measured") == (not one["rows"])
        )
        for end in ("ci_low", "ci_high"):
            assert one[end] is None or isinstance(one[end], float)
    assert read_verdicts(folder) == verdicts
    assert read_references(folder) == compare_references(load_references(), read_table(folder))


def test_the_report_shows_claims_where_they_were_judged(folder):
    assert 'id="claims"' not in redraw_report(folder).read_text()
    judged(folder)
    page = redraw_report(folder).read_text()
    assert '<section id="claims"' in page and '<section id="published"' in page
    assert "Entropy-v2 (1 % lost" in page
    assert 'class="verdict supported">supported on this model<' in page
    assert re.search(r"int8bench sweep .*calibrator=minmax dataset.calibration_outlier", page)
    markdown = (folder / "report.md").read_text()
    assert "## Claims" in markdown and "## Published cases" in markdown
    first = page, markdown
    assert (redraw_report(folder).read_text(), (folder / "report.md").read_text()) == first


def test_a_record_of_something_else_is_one_clear_line(folder):
    (folder / "claims.json").write_text('[{"id": 1}]')
    with pytest.raises(DataError, match=r"claims\.json is not a record of claims"):
        redraw_report(folder)


def test_an_old_table_is_read_with_the_defaults_of_newer_columns(folder):
    path = folder / "table.csv"
    (folder / "checksums.json").unlink()
    pd.read_csv(path).drop(columns=["weight_scales", "statistics_key"]).to_csv(path, index=False)
    found = {one.id: one.verdict for one in judged(folder)}
    assert found["minmax_beats_entropy2_on_yolo"] == "supported on this model"


def test_the_command_prints_every_claim(folder, capsys):
    assert main(["claims", str(folder)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "MinMax keeps more of FP32" in told and "supported" in told
    assert main(["claims", str(folder / "none")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
