"""The page in a real browser: it sorts, filters, prints, and asks for nothing."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pil

from bench.report.page import redraw_report
from bench.results.error_analysis import Box, Example, Losses, LossStore, Part, View
from bench.results.table import make_table, write_table

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RUNS = "#runs .scroll >> nth=0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium on this machine ({', '.join(NAMES)})")
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root with one
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=quiet + root)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(sweep, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_table(sweep, folder)
    for key in sweep["run_key"]:
        parts = (Part("cat", 30, 0.5, 0.4, -0.2, -0.1), Part("dog", 3, 0.5, 0.4, -0.2, -0.1))
        missed = View("1 missed", (Box((0.7, 0.1, 0.2, 0.8), "a cat of a long name", "missed"),))
        shown = Example("long_name_of_a_file" * 5, "f00d", 640, 160, "1 cat", View("1"), missed)
        LossStore(folder).add(key, Losses("object", 3, 1, 0.4, parts, examples=(shown,)))
    picture = io.BytesIO()
    Pil.new("RGB", (320, 80), (0, 0, 255)).save(picture, "JPEG")
    LossStore(folder).add_picture("f00d", picture.getvalue)
    return redraw_report(folder)


@pytest.fixture
def opened(browser, report) -> Iterator[Any]:
    """``opened(**context)``: the page; what it complains of or asks for fails the test."""
    told: list[str] = []
    contexts = []

    def open_page(**options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        return page

    asked: list[str] = []
    yield open_page
    for context in contexts:
        context.close()
    assert told == []
    assert {url for url in asked if not url.startswith("data:")} <= {report.as_uri()}


def column(page: Any, head: str) -> list[str]:
    """What the shown rows of the first table of runs say in a column."""
    table = page.locator(f"{RUNS} >> table")
    heads = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    rows = [row for row in table.locator("tbody tr").all() if row.is_visible()]
    return [row.locator("td").nth(heads.index(head)).inner_text() for row in rows]


def test_a_head_sorts_by_mouse_and_by_keyboard(opened):
    page = opened()
    head = page.locator(f"{RUNS} >> th", has_text=re.compile(r"^\s*delta\s*$"))
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    rising = [float(text.replace("−", "-")) for text in column(page, "delta")]
    assert rising == sorted(rising)
    assert len(set(rising)) > 2
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text.replace("−", "-")) for text in column(page, "delta")] == rising[::-1]


def test_a_filter_shows_the_rows_of_all_its_words_and_counts_them(opened):
    page = opened()
    box = page.get_by_role("searchbox", name="Filter").first
    status = page.locator("#runs .filter [aria-live=polite]").first
    assert status.inner_text() == "12 of 12 runs shown"
    box.focus()
    page.keyboard.type("ENTROPY2 float_head")
    assert status.inner_text() == "2 of 12 runs shown"
    assert set(column(page, "calibrator")) == {"entropy2"}
    assert set(column(page, "plan")) == {"float_head"}
    box.fill("8")  # a number is a whole cell
    assert column(page, "size (images)") == ["8"] * 6
    page.locator(f"{RUNS} >> th", has_text="calibrator").get_by_role("button").click()
    assert status.inner_text() == "6 of 12 runs shown"
    assert column(page, "size (images)") == ["8"] * 6  # sorting keeps the filter
    box.fill("no such thing")
    assert status.inner_text() == "0 of 12 runs shown"
    box.fill("")
    assert status.inner_text() == "12 of 12 runs shown"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_holds_answer_command_and_files(opened, scheme, tmp_path):
    page = opened(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    for text in ("mse, 64 calibration images, plan float_head: loses 0.005 mAP50-95",
                 "int8bench model=yolov8n calibrator=mse plan=float_head"):  # fmt: skip
        place = page.get_by_text(text).first.bounding_box()
        assert place is not None
        assert place["y"] + place["height"] < 900
    shot = tmp_path / f"{scheme}.png"
    page.screenshot(path=shot)
    assert shot.stat().st_size > 20_000
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 600
    assert light == (scheme == "light")


def test_a_narrow_screen_scrolls_no_page_sideways(opened):
    page = opened(viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_paper_has_every_row_and_no_controls(opened):
    page = opened()
    page.emulate_media(media="print")
    assert not page.locator("#runs .filter").first.is_visible()
    assert not page.locator("nav").is_visible()
    clipped = page.evaluate(
        "[...document.querySelectorAll('.tall')]"
        ".filter(e => e.scrollHeight > e.clientHeight + 1).length"
    )
    assert clipped == 0
    assert page.pdf().startswith(b"%PDF")


def test_pictures_of_losses_are_painted(opened):
    shown = opened().locator("#losses .pair svg").first
    shown.scroll_into_view_if_needed()
    picture = Pil.open(io.BytesIO(shown.screenshot()))
    middle: Any = picture.convert("RGB").getpixel((picture.width // 4, picture.height // 2))
    red, green, blue = middle
    assert blue > 200
    assert max(red, green) < 60


def test_without_scripts_the_tables_are_plain(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("th button").count() == 0
    assert page.locator(".filter").count() == 0
    assert page.locator("#runs table >> nth=0 >> tbody tr").count() == 12


EVIL = "<script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">"
"""What a class, a file or an engine's words could say."""


def test_what_names_and_errors_say_does_not_run(browser, row, skip, tmp_path):
    said = dict.fromkeys(
        ("model", "dataset", "engine", "calibrator", "plan", "metric", "weights", "environment",
         "latency_note", "builder_warning_text", "hardware", "overrides", "dataset_options"),
        EVIL,
    )  # fmt: skip
    table = make_table([row(**said | {"overrides": "model=x"}), skip(error=EVIL, model=EVIL)])
    write_table(table, tmp_path)
    view = View(EVIL, (Box((0.7, 0.1, 0.2, 0.8), EVIL, "missed"),))
    shown = Example(EVIL, "f00d", 640, 160, EVIL, view, view)
    parts = (Part(EVIL, 30, 0.5, 0.4, -0.2, -0.1),)
    for key in table["run_key"]:
        losses = Losses("object", 3, 1, 0.4, parts, examples=(shown,))
        LossStore(tmp_path).add(key, losses)
    report = redraw_report(tmp_path)
    assert "document.title" in report.read_text()
    page = browser.new_page()
    page.goto(report.as_uri())
    assert page.title() != "ran"
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    page.close()
