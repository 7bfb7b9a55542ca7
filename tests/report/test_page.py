"""The report as files: complete, harmless whatever the table holds, the same for the same table."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.errors import DataError
from bench.report.figures import draw_charts, groups_of
from bench.report.page import Report, redraw_report, render_html, render_markdown
from bench.report.summary import summarize
from bench.results.row import COLUMNS
from bench.results.table import make_table, write_table

COMMAND = (sys.executable, "-m", "bench", "report")
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """A page's elements; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def html(table, draw=True):
    return render_html(Report(summarize(table), draw_charts(groups_of(table)) if draw else ()))


def test_page_is_well_formed_and_asks_no_network(sweep):
    text = html(sweep)
    page = Page(text)
    assert not re.search(r"https?:", text)
    assert not page.all("link")
    assert not any("src" in attributes for attributes in page.all("script"))
    references = [a.get("href") or a.get("src") or "" for _, a in page.elements]
    assert all(ref.startswith(("#", "data:")) for ref in references if ref)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {ref[1:] for ref in references if ref.startswith("#")} <= set(ids)
    assert len(text) < 5_000_000


def test_page_serves_those_who_do_not_see_it(sweep):
    page = Page(html(sweep))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    figures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(figures) == len(page.all("figure")) == 4
    assert all("yolov8n on shapes" in (svg.get("aria-label") or "") for svg in figures)
    tags = {tag for tag, _ in page.elements}
    assert {"main", "header", "nav", "footer", "h1", "h2"} <= tags
    assert page.all("html")[0]["lang"] == "en"


def test_page_tells_the_answer_first_and_explains_every_column(sweep):
    text = Page(html(sweep, draw=False)).text
    answer = text.index("mse, 64 calibration images, plan float_head: loses 0.005")
    sections = [text.rindex(title) for title in ("All runs", "Environment", "Columns", "Reproduce")]
    assert [answer, *sections] == sorted([answer, *sections])
    assert "int8bench sweep model=yolov8n" in text
    for name, column in COLUMNS.items():
        assert name in text
        assert column.description in text


def test_best_row_is_marked_and_first(sweep):
    rows = re.findall(r"<tr( class=\"[^\"]*\")?><td class=\"mark\"", html(sweep, draw=False))
    assert rows[0] == ' class="best"'
    assert rows.count(' class="best"') == 2  # once in the key columns, once in the rest


EVIL = '<script>alert("x")</script>'


def test_names_are_escaped(row, skip):
    table = make_table([row(**dict.fromkeys(
        ("model", "dataset", "engine", "calibrator", "calibrator_params", "plan", "metric",
         "latency_note", "hardware", "environment", "weights"), EVIL)),
        skip(error=EVIL, model=EVIL)])  # fmt: skip
    text = html(table)
    assert "alert(" in text
    assert EVIL not in text
    assert len(Page(text).all("script")) == 1
    markdown = render_markdown(Report(summarize(table), draw_charts(groups_of(table))))
    assert "<script" not in markdown.partition("## Reproduce")[0]


def test_dollars_and_bars_in_names_are_only_text(row):
    table = make_table([row(plan="$a|b$", calibrator="$\\frac$"), row(plan="c")])
    markdown = render_markdown(Report(summarize(table), draw_charts(groups_of(table))))
    assert "$a\\|b$" in markdown


@pytest.mark.parametrize("case", ["one", "no latency", "no interval", "no cost", "holes", "models"])
def test_page_copes_with(case, row, skip):
    tables = {
        "one": [row()],
        "no latency": [row(int8_latency_p50_ms=None, speedup=None, fp32_latency_p50_ms=None)],
        "no interval": [row(ci_low=None, ci_high=None), row(calibration_size=8, ci_low=None)],
        "no cost": [row(collect_s=None, threshold_s=None, build_s=None)],
        "holes": [
            row(), row(plan="float_head", calibration_size=8), skip(calibrator="mse"),
            row(calibrator="new", calibration_seed=1), row(fp32_latency_p50_ms=None, fp32=0.0),
        ],
        "models": [row(), row(model="resnet18", metric="Top-1"), skip(model="other")],
    }  # fmt: skip
    page = Page(html(make_table(tables[case])))
    expected = {"no latency": 3, "no cost": 3, "models": 8}.get(case, 4)
    assert len(page.all("figure")) == expected
    assert not re.search(r"\b(nan|None)\b", page.text)


def test_all_skipped_says_so(skip):
    page = Page(html(make_table([skip(), skip(calibrator="mse")])))
    assert "No answer: nothing was measured" in page.text
    assert "2 runs, all skipped" in page.text
    assert "skipped: no depthwise layers" in page.text
    assert not page.all("figure")


def test_where_fp32_finds_nothing_page_and_markdown_recommend_nothing(row):
    table = make_table(
        [row(fp32=0.0, int8=0.0, delta=0.0, calibrator=c) for c in ("mse", "minmax")]
    )
    page, text = Page(html(table)), render_markdown(Report(summarize(table), ()))
    for said in (page.text, text):
        assert "FP32 itself detects nothing (mAP50-95 0.000). Check the preprocessing" in said
        assert "no change" not in said
        assert "nothing was measured" not in said
    assert not [row for row in page.all("tr") if row.get("class") == "best"]
    assert len(page.all("article")) == 1


def test_engines_that_were_built_only_make_a_report(built):
    page = Page(html(make_table([built(), built(calibrator="mse", builder_warnings=1)])))
    assert "2 runs on shapes with tensorrt_rtx, 2 of them built only." in page.text
    assert "2 engines built, none run" in page.text
    assert "tensorrt_rtx 1.7.1.116 (SM89) builds ahead of time" in page.text
    assert "4,200,000" in page.text
    runs = page.text.partition("All runs")[2].partition("Environment")[0]
    assert "INT8 latency" not in runs
    assert "skipped" not in runs
    assert not page.all("figure")
    assert not re.search(r"\b(nan|None)\b", page.text)


def test_built_rows_stand_beside_measured_ones(row, built):
    table = make_table([row(), row(calibrator="mse"), built()])
    measured = make_table([row(), row(calibrator="mse")])
    assert len(draw_charts(groups_of(table))) == len(draw_charts(groups_of(measured)))
    page = Page(html(table, draw=False))
    assert "1 of them built only" in page.text
    assert "engines built, not run" in page.text


def test_fp16_has_a_tile_and_columns_where_it_was_measured(row):
    fp16 = {"fp16": 0.599, "fp16_delta": -0.001, "fp16_ci_low": -0.002, "fp16_ci_high": 0.0,
            "speedup_fp16": 1.31}  # fmt: skip
    page = Page(html(make_table([row(**fp16)]), draw=False))
    assert "mAP50-95, FP16, same engine" in page.text
    assert "INT8 is 1.31x as fast" in page.text
    assert "speedup over FP16" in page.text
    assert "FP16, same engine" not in Page(html(make_table([row()]), draw=False)).text


def test_skipped_rows_show_their_reason(row, skip):
    page = Page(html(make_table([row(), skip(error="the engine lacks INT8")]), draw=False))
    assert "skipped: the engine lacks INT8" in page.text
    assert "1 of them skipped" in page.text


def test_report_is_a_pure_function_of_the_table(row, tmp_path):
    table = make_table([row(), row(calibrator="mse", calibration_size=8, delta=-0.02)])
    written = []
    for name in ("first", "second"):
        write_table(table, tmp_path / name)
        before = (tmp_path / name / "table.csv").read_bytes()
        page = redraw_report(tmp_path / name)
        assert page == tmp_path / name / "report.html"
        assert (tmp_path / name / "table.csv").read_bytes() == before
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        written.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert written[0] == written[1]
    assert len([path for path in written[0] if path.suffix == ".png"]) == 4
    markdown = written[0][Path("report.md")].decode()
    links = re.findall(r"\]\((figures/[^)]+)\)", markdown)
    assert {Path(link) for link in links} == {p for p in written[0] if p.suffix == ".png"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "does not exist"),
        (b"", "is not a table"),
        (b"a,b\n1,2\n", "lacks the columns"),
        (b"\xff\xfe\x00\x81,\x00", "is not a table"),
        (b'a,b\n1,2,3,4\n"', "is not a table"),
        (",".join(COLUMNS).encode() + b"\n", "has no rows"),
    ],
)
def test_a_table_that_is_none_is_one_line(content, complaint, tmp_path):
    if content is not None:
        (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=complaint) as caught:
        redraw_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "table.csv") in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_the_command_fails_in_one_line(tmp_path):
    done = subprocess.run([*COMMAND, tmp_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "table.csv does not exist" in done.stderr


def test_the_command_asks_the_same_rows_with_another_limit(row, tmp_path):
    write_table(make_table([row(delta=-0.05, noise=0.002)]), tmp_path)

    def ask(*options: str) -> str:
        done = subprocess.run(
            [*COMMAND, tmp_path, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return (tmp_path / "report.html").read_text()

    assert "fit to deploy" not in ask()
    assert "Nothing here is fit to deploy" in ask("--max-loss=1%")
    assert "Nothing here is fit to deploy" in ask()  # it stays until another is given
    assert "It is proven to lose no more than 20 % of FP32." in ask("--max-loss=20%")
