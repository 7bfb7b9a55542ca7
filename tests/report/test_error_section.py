"""Where INT8 loses, on the page: of two runs whole, of the others in a line; and without files."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.report.error_analysis import FEW, PartLine, encode_pictures, find_losses
from bench.report.figures import draw_charts, groups_of
from bench.report.page import Report, redraw_report, render_html
from bench.report.summary import summarize
from bench.results.error_analysis import Box, Example, Losses, LossStore, Part, View
from bench.results.table import make_table, read_table, write_table
from tests.report.test_page import Page

SHIFTED = {
    "f1_threshold_fp32": 0.43, "f1_threshold_int8": 0.21, "f1_fp32": 0.85, "f1_int8": 0.80,
    "f1_int8_at_fp32_threshold": 0.55, "f1_threshold_loss_ci_low": -0.30,
    "f1_threshold_loss_ci_high": -0.20,
}  # fmt: skip


def losses(drop: float, picture: str = "f00d") -> Losses:
    missed = Box((0.1, 0.1, 0.2, 0.2), "cat<1>", "missed")
    found = Box((0.7, 0, 0.2, 0.2), "dog", "right", 0.8)
    before = View("2 right, 0 wrong, 0 missed")
    after = View("1 right, 0 wrong, 1 missed", (missed, found))
    shown = Example("street.png", picture, 640, 480, "1 cat<1>, 1 dog", before, after)
    return Losses(
        "object", 7, 2, 0.43,
        classes=(
            Part("dog", 200, 0.5, 0.5, -0.01, 0.01),
            Part("cat<1>", 60, 0.5, 0.5 - drop, -drop - 0.01, -drop + 0.01),
            Part("zebra", 3, 0.9, 0.1, -0.9, -0.7),
        ),
        sizes=(Part("small", 90, 0.3, 0.3 - 2 * drop), Part("large", 40, 0.7, 0.7)),
        examples=(shown,),
    )  # fmt: skip


@pytest.fixture
def folder(row, tmp_path):
    """Four runs: the best, the worst whose confidences are pressed, and two between."""
    rows = [
        row(calibrator="minmax", delta=-0.01, noise=0.001),
        row(calibrator="mse", delta=-0.03, noise=0.001),
        row(calibrator="percentile", calibrator_params="percentile=99.99", delta=-0.05),
        row(calibrator="entropy2", delta=-0.20, **SHIFTED),
    ]
    table, store = make_table(rows), LossStore(tmp_path)
    write_table(table, tmp_path)
    for number, own in enumerate(rows):
        store.add(own.run_key, losses(-own.delta, f"f00d{number}"))
        store.add_picture(f"f00d{number}", lambda: b"\xff\xd8 a picture \xff\xd9")
    return tmp_path


def page_of(folder) -> tuple[str, Page]:
    """As ``redraw_report`` makes it, but without the charts, which take seconds."""
    table, store = read_table(folder), LossStore(folder)
    summary = summarize(table)
    found = find_losses(summary, store)
    shown = Report(summary, losses=found, pictures=encode_pictures(found, store))
    html = render_html(shown)
    return html, Page(html)


def test_two_runs_are_shown_whole_and_the_others_in_a_line(folder):
    _, page = page_of(folder)
    text = " ".join(page.text.split())
    recommended = text.index("Recommended: minmax")
    assert recommended < text.index("Most lossy: entropy2") < text.index("of 2 other runs")
    assert "cat<1>, 60" in text  # the worst class of the others; zebra has too few
    assert "makes more mistakes than FP32 on 7 images and fewer on 2" in text


def test_a_class_of_few_objects_is_last_and_says_nothing(folder):
    html, _ = page_of(folder)
    line = r'<tr( class="few")?><th scope="row">([^<]+)</th><td class="n">(\d+)'
    told = html[html.index('id="losses"') :]
    lines = [line for line in re.findall(line, told) if line[1] not in ("small", "large")]
    assert [name for _, name, _ in lines[:3]] == ["cat&lt;1&gt;", "dog", "zebra"]
    assert len(lines) == 6
    assert all((few != "") == (int(count) < FEW) for few, _, count in lines)
    assert html.count("too few images") == 2


def test_a_clear_loss_on_few_images_is_told():
    """-0.669 (-0.806 to -0.514) is no matter of too few images; of five nothing can be said."""
    lost = Part("cat", 200, 0.8, 0.131, -0.806, -0.514, images=FEW - 1)
    assert PartLine(lost).verdict == f"a loss, on {FEW - 1} images only"
    assert PartLine(replace(lost, images=5)).verdict == "too few images"
    assert PartLine(replace(lost, images=FEW)).verdict == "a loss"
    assert PartLine(replace(lost, images=None)).verdict == "a loss"  # a file from before
    assert PartLine(replace(lost, high=0.1)).verdict == f"not proven, on {FEW - 1} images only"


def test_the_old_threshold_is_told_where_keeping_it_loses(folder):
    _, page = page_of(folder)
    text = " ".join(page.text.split())
    assert (
        "At FP32's best confidence threshold (0.43), F1 is 0.850 in FP32 and 0.550 in INT8 "
        "(−0.300)" in text
    )
    assert "INT8's best threshold is 0.21 (F1 0.800); changing to it is proven to help" in text
    assert "in 1 of 1 run. In the worst of them F1 falls from 0.800 to 0.550" in text  # a warning


def test_pictures_say_in_words_what_differs(folder):
    html, page = page_of(folder)
    labels = [svg.get("aria-label") or "" for svg in page.all("svg") if svg.get("role") == "img"]
    assert "street.png, INT8: 1 right, 0 wrong, 1 missed; missed: cat<1>" in labels
    assert "street.png, FP32: 2 right, 0 wrong, 0 missed" in labels
    used = {use["href"] for use in page.all("use") if "#picture" in (use["href"] or "")}
    assert used == {"#picture-f00d0", "#picture-f00d3"}  # of the two runs shown
    assert used <= {f"#{image.get('id')}" for image in page.all("image")}
    assert html.count('<rect class="missed"') == 2


def test_a_picture_whose_file_is_gone_is_told_all_the_same(folder):
    for path in (folder / "pictures").iterdir():
        path.unlink()
    _, page = page_of(folder)
    assert not [use for use in page.all("use") if "#picture" in (use["href"] or "")]
    assert "1 right, 0 wrong, 1 missed" in page.text


def test_runs_without_files_make_a_page_without_the_section(folder):
    for path in (folder / "losses").iterdir():
        path.unlink()
    html, page = page_of(folder)
    assert 'id="losses"' not in html
    assert "Where it loses" not in page.text
    assert "Recommended" not in page.text


def test_pictures_keep_to_their_room(folder, monkeypatch):
    monkeypatch.setattr("bench.report.error_analysis.MOST_PICTURE_BYTES", 1)
    table, store = read_table(folder), LossStore(folder)
    groups = find_losses(summarize(table), store)
    assert len(encode_pictures(groups, store)) == 1


def test_a_classifiers_picture_is_shown_once(row, tmp_path):
    rows = [row(metric="Top-1"), row(metric="Top-1", calibrator="mse", delta=-0.3)]
    store = LossStore(tmp_path)
    write_table(make_table(rows), tmp_path)
    example = Example("a.png", "f00d", 64, 64, "cat", View("cat"), View("dog"))
    cat = Part("cat", 30, 1.0, 0.5, -0.7, -0.3)
    for own in rows:
        store.add(own.run_key, Losses("image", 4, 1, classes=(cat,), examples=(example,)))
    store.add_picture("f00d", lambda: b"\xff\xd8\xff\xd9")
    _, page = page_of(tmp_path)
    assert "a.png: cat; FP32: cat; INT8: dog" in {svg.get("aria-label") for svg in page.all("svg")}
    assert "By object size" not in page.text


def test_markdown_tells_them_too(folder):
    redraw_report(folder)
    text = (folder / "report.md").read_text()
    assert "## Where it loses" in text
    assert "picture-f00d3" in (folder / "report.html").read_text()
    assert "| cat&lt;1&gt; | 60 | 0.500 | 0.300 | −0.200 | −0.210 to −0.190 | a loss |" in text
    assert "0.550 in INT8 (−0.300)" in text


def test_a_page_of_a_hundred_runs_stays_below_its_limit(row, tmp_path):
    store = LossStore(tmp_path)
    plans, sizes = ("all", "float_first", "float_head", "float_depthwise"), (8, 32, 64, 128, 256)
    rows = [
        row(calibrator=calibrator, calibration_size=size, plan=plan,
            delta=-0.001 * (1 + (7 * number) % 23), **SHIFTED)
        for calibrator in ("minmax", "entropy2", "percentile", "mse", "legacy")
        for number, size in enumerate(sizes)
        for plan in plans
    ]  # fmt: skip
    classes = tuple(Part(f"class {n}", 5 * n, 0.5, 0.4, -0.2, -0.01) for n in range(1, 81))
    for number, own in enumerate(rows):
        shown = [losses(0.1, f"{number}-{k}").examples[0] for k in range(4)]
        store.add(own.run_key, Losses("object", 9, 1, 0.4, classes, (), tuple(shown)))
        for example in shown:
            store.add_picture(example.picture, lambda: bytes(16_000))
    assert len(rows) == 100
    table = make_table(rows)
    summary = summarize(table)
    found = find_losses(summary, store)
    pictures = encode_pictures(found, store)
    assert len(pictures) == 8
    charts = draw_charts(groups_of(table))
    page = render_html(Report(summary, charts, losses=found, pictures=pictures))
    assert len(page.encode()) < 2_500_000
