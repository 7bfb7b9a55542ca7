"""Damaged caches and results: named in a line, made again where it can be, never in a row.

``make chaos`` damages every kind in every way; here each is damaged once.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench.__main__ import main
from bench.results import packs, store
from bench.results.table import read_table
from tests.e2e.command import CUSTOM, Bench

pytestmark = pytest.mark.e2e

SWEEP = ["--multirun", *CUSTOM, "plan=all,float_first"]
FACTS = ["fp32", "int8", "delta", "ci_low", "ci_high", "sqnr_db", "input_amax", "statistics_key"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Bench:
    """Two runs with a report, which nobody changes."""
    folder = tmp_path_factory.mktemp("whole")
    bench = Bench(folder / "out", folder / "cache", files)
    assert bench(*SWEEP, report=True).status == 0
    return bench


@pytest.fixture
def copy(whole: Bench, tmp_path: Path) -> Bench:
    shutil.copytree(whole.out.parent, tmp_path / "copy")
    return Bench(tmp_path / "copy" / "out", tmp_path / "copy" / "cache", whole.files)


def spoil(folder: Path, pattern: str) -> Path:
    """Zero 200 bytes in the middle of a file."""
    path = sorted(folder.glob(pattern))[0]
    content, at = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(content[:at] + bytes(200) + content[at + 200 :])
    return path


def same_facts(found: Bench, expected: Bench) -> None:
    pd.testing.assert_frame_equal(found.table[FACTS], expected.table[FACTS])


def test_no_damaged_cache_reaches_a_row(whole: Bench, copy: Bench) -> None:
    shutil.rmtree(copy.out)
    spoiled = [spoil(copy.cache, f"{kind}-*") for kind in ("pixels", "fp32", "statistics")]
    ended = copy(*SWEEP)
    assert ended.status == 0, ended.err
    same_facts(copy, whole)
    warnings = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == len(spoiled)
    for path in spoiled:
        assert any(f"{path} is damaged" in line for line in warnings)
    shutil.rmtree(copy.out)
    assert "damaged" not in copy(*SWEEP).err


def test_a_report_leaves_out_what_is_damaged_and_says_so(
    copy: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (copy.out / "report.html").read_text()
    kinds = ("judged/*.npz", "histograms/*.npz", "losses/*.json")
    spoiled = [spoil(copy.out, kind) for kind in kinds]
    assert main(["report", str(copy.out)]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == len(spoiled)
    for path in spoiled:
        assert any(str(path) in line for line in warnings)
    assert "thresholds on the histograms" in page
    assert "thresholds on the histograms" not in (copy.out / "report.html").read_text()


@pytest.mark.parametrize("name", ["table.csv", "claims.json", "references.json", "report.json"])
def test_a_report_draws_nothing_of_a_changed_file(
    copy: Bench, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy.out / name
    path.write_text(path.read_text().replace("0", "1").replace("null", "0.3"))
    drawn = (copy.out / "report.html").stat().st_mtime_ns
    assert main(["report", str(copy.out)]) == 2
    assert f"error: {path} is damaged" in capsys.readouterr().err
    assert (copy.out / "report.html").stat().st_mtime_ns == drawn


def test_a_sweep_puts_rows_and_table_right(whole: Bench, copy: Bench) -> None:
    row = spoil(copy.out, "rows/*.json")
    (copy.out / "table.csv").write_text((copy.out / "table.csv").read_text()[:300])
    ended = copy(*SWEEP)
    assert ended.status == 0, ended.err
    assert f"{row} cannot be read" in ended.err
    same_facts(copy, whole)
    assert len(read_table(copy.out)) == 2
    assert row.with_name(f"{row.name}.unreadable").is_file()


def test_the_runs_of_a_damaged_pack_are_made_again(
    whole: Bench, copy: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (packs, store):
        monkeypatch.setattr(module, "FEWEST_LOOSE", 2)
    ended = copy(*SWEEP, report=True)
    assert ended.status == 0, ended.err
    table = read_table(copy.out)
    pd.testing.assert_frame_equal(table, read_table(whole.out))  # nothing was run again
    (best,) = copy.rows  # what is recommended, which the report names
    pack = spoil(copy.out, "packed/*.parquet")
    ended = copy(*SWEEP, report=True)
    assert ended.status == 0, ended.err
    (line,) = [line for line in ended.err.splitlines() if pack.name in line]
    assert line.startswith(f"warning: {pack} cannot be read")
    facts = [own.set_index("run_key").sort_index()[FACTS] for own in (read_table(copy.out), table)]
    pd.testing.assert_frame_equal(*facts)
    assert best in copy.rows


def test_one_row_stops_no_folder(whole: Bench, copy: Bench) -> None:
    """As ``calibration.seed=99999999999999999999999`` once stored it."""
    path = copy.rows[0]
    text = path.read_text()
    seal = text.rindex(',\n "sha256"')
    big = text[:seal].replace('"calibration_seed": 0', f'"calibration_seed": {"9" * 23}') + "}"
    path.write_text(big)
    ended = copy(*SWEEP)
    assert ended.status == 0, ended.err
    assert "calibration_seed" in ended.err
    same_facts(copy, whole)
