"""A diagnosis's page: complete, harmless whatever its names say, and readable at any size."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace

import pytest

from bench.report.diagnosis_numbers import percent_text, worst_part
from bench.report.diagnosis_page import render_page, write_page
from bench.report.diagnosis_tables import (
    block_table,
    layer_table,
    source_of,
    tensor_table,
    worst_table,
)
from bench.results.diagnosis import Effect, RuleError
from bench.results.noise_shares import gain_db
from tests.report.diagnoses import effect, effects, make_diagnosis
from tests.report.test_page import Page

EVIL = "/model.0/<script>document.title = 'ran'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def diagnosis():
    return make_diagnosis(24)


@pytest.fixture(scope="module")
def html(diagnosis):
    return render_page(diagnosis)


def column(table, label):
    place = next(at for at, head in enumerate(table.heads) if head.label == label)
    return [line[place] for line in table.lines]


def named(diagnosis, name):
    """The same diagnosis with its worst layer, its block and tensor called ``name``."""
    worst = diagnosis.worst[0]
    layers = tuple(
        replace(layer, name=name, block=name, op=name) if layer.name == worst else layer
        for layer in diagnosis.layers
    )
    tensors = tuple(replace(tensor, name=name, producer=name) for tensor in diagnosis.tensors[:1])
    blocks = tuple(replace(block, name=name) for block in diagnosis.blocks[:2])
    return replace(
        diagnosis, layers=layers, tensors=tensors, blocks=blocks, first_jump=name, worst=(name,),
        advice=(name,), lists={name: name}, setting={"model": name, name: name},
    )  # fmt: skip


def test_everything_is_on_the_page(diagnosis, html):
    text = " ".join(Page(html).text.split())
    for said in (
        *diagnosis.advice, *diagnosis.worst, *diagnosis.lists, *diagnosis.setting.values(),
        *(layer.name for layer in diagnosis.layers), *(block.name for block in diagnosis.blocks),
        *(tensor.name for tensor in diagnosis.tensors), "41.7 s", "percentile 99.99",
        "2.1 (0.4 to 3.8)", f"first jump: {diagnosis.first_jump}",
    ):  # fmt: skip
        assert " ".join(said.split()) in text
    for listed in diagnosis.lists.values():
        assert f"<code>{listed}" in html.replace("&#39;", "'").replace("&#34;", '"')
    assert "nan" not in text.split()


def test_the_page_needs_nothing_else_and_serves_those_who_do_not_see_it(html):
    page = Page(html)
    assert not re.search(r"https?:", html)
    references = [a.get("href") or a.get("src") or "" for _, a in page.elements]
    assert all(ref.startswith(("#", "data:")) for ref in references if ref)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {ref[1:] for ref in references if ref.startswith("#")} <= set(ids)
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    figures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(figures) == len(page.all("figure")) == 3 + 6
    assert all(svg.get("aria-label") for svg in figures)


def test_the_same_diagnosis_gives_the_same_page(diagnosis, html):
    assert render_page(diagnosis) == html


def test_names_are_shown_and_never_run(diagnosis):
    html = render_page(named(diagnosis, EVIL))
    page = Page(html)
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert "<script>document.title" not in html
    assert EVIL in page.text


def test_long_names_are_cut_at_their_beginning(diagnosis):
    long = named(diagnosis, "/model.0" * 500 + "/the_end/Conv")
    assert "/the_end/Conv" in Page(render_page(long)).text
    for table in (worst_table(long), layer_table(long), block_table(long), tensor_table(long)):
        assert max(len(cell.text) for line in table.lines for cell in line) <= 90


def test_none_is_infinite(diagnosis):
    clean = replace(
        diagnosis.layers[0], only=effects(0.0), weights_only=effects(0.0),
        activations_only=effects(0.0), all_but=effects(0.0),
    )  # fmt: skip
    changed = replace(diagnosis, layers=(clean, *diagnosis.layers[1:]))
    table = layer_table(changed)
    assert column(table, "SQNR, other images (dB)")[0].text == "∞"
    assert column(table, "gain in float (dB)")[0].text == "∞"
    assert column(table, "noise from")[0].text == "–"
    assert column(tensor_table(changed), "SQNR here (dB)")[0].text == "∞"
    assert "∞" in Page(render_page(changed)).text
    silent = replace(
        changed, layers=(clean,), blocks=(), all_int8=effects(0.0), worst=(),
        tensors=tuple(replace(tensor, depth_db=None) for tensor in diagnosis.tensors),
    )  # fmt: skip
    page = Page(render_page(silent))
    assert not page.all("figure")


def test_the_worst_part_is_the_lowest():
    assert worst_part(Effect({"boxes": 30.0, "scores": 20.0}, 0.1, 0.0)) == ("scores", 20.0)
    assert worst_part(Effect({"boxes": None, "scores": 20.0}, 0.1, 0.0)) == ("scores", 20.0)
    assert worst_part(Effect({}, None, 0.0)) is None


def test_the_gain_is_how_far_the_noise_falls():
    layer = make_diagnosis(1).layers[0]

    def gain(all_int8, all_but):
        before, after = (
            {"calibration": Effect({}, 1.0, 0.0), "other": Effect({}, noise, 0.0)}
            for noise in (all_int8, all_but)
        )
        return gain_db(replace(layer, all_but=after), before)

    assert gain(0.1, 0.01) == pytest.approx(10)
    assert gain(0.01, 0.02) == pytest.approx(-3.01, abs=0.01)
    assert gain(None, 0.01) is gain(0.0, 0.0) is None


def test_noise_comes_from_weights_activations_or_both(diagnosis):
    layer = diagnosis.layers[0]

    def source(weights, activations):
        own = {
            "weights_only": {"x": effect(weights)},
            "activations_only": {"x": effect(activations)},
        }
        return source_of(replace(layer, **own), "x")

    assert source(0.1, 0.01) == "weights"
    assert source(0.01, 0.1) == "activations"
    assert source(0.1, 0.05) == "both"


def test_the_rule_with_the_least_error_is_marked(diagnosis):
    rules = {"minmax": RuleError(3.0, 0.0, 0.002), "mse": RuleError(2.0, 0.0004, 0.0005)}
    tensor = replace(diagnosis.tensors[0], rules=rules)
    table = tensor_table(replace(diagnosis, tensors=(tensor,)))
    assert not column(table, "minmax: clip + round (%)")[0].least
    marked = column(table, "mse: clip + round (%)")[0]
    assert (marked.least, marked.text) == (True, "0.04 + 0.05")


def test_values_that_are_not_finite_are_said(diagnosis):
    nan = float("nan")
    broken = replace(
        diagnosis.tensors[0], min=nan, max=nan, amax=nan, depth_db=nan, low=nan, high=nan,
        zero_share=nan, saturated_share=nan, not_finite=12, pairs=((nan, nan),),
        rules={"mse": RuleError(nan, nan, nan)},
    )  # fmt: skip
    spoilt = {"calibration": Effect({"boxes": nan}, nan, nan), "other": Effect({}, None, nan)}
    layer = replace(diagnosis.layers[0], only=spoilt, weights_only=spoilt, channel_spread=nan)
    page = Page(
        render_page(
            replace(
                diagnosis, layers=(layer, *diagnosis.layers[1:]), all_int8=spoilt, seconds=nan,
                tensors=(broken, *diagnosis.tensors[1:]),
            )
        )
    )  # fmt: skip
    assert "1 tensor with values that are NaN or infinite" in page.text
    assert "nan" not in page.text.replace("NaN", "").split()


@pytest.mark.parametrize(
    "less",
    [{"blocks": ()}, {"tensors": ()}, {"lists": {}, "advice": ()}, {"all_int8": {}, "worst": ()},
     {"first_jump": None}, {"setting": {}}, {"layers": (), "blocks": (), "tensors": ()}],
    ids=lambda less: "-".join(less),
)  # fmt: skip
def test_what_is_missing_is_left_out(diagnosis, less):
    page = Page(render_page(replace(diagnosis, **less)))
    links = {a["href"] for a in page.all("a")}
    assert links <= {f"#{a['id']}" for _, a in page.elements if "id" in a}
    for section in ("blocks", "tensors"):
        assert (f"#{section}" in links) == (section not in less)


def test_one_layer_is_enough():
    page = Page(render_page(make_diagnosis(1)))
    assert "/model.0/conv/Conv alone in INT8: " in page.text


@pytest.mark.slow
def test_a_thousand_layers_fit_on_a_page(tmp_path):
    path = tmp_path / "page.html"
    write_page(make_diagnosis(1000), path)
    assert path.stat().st_size < 4_000_000
    page = Page(path.read_text())
    assert not page.all("img")
    assert len(page.all("details")) == 3


def test_the_worst_table_follows_the_diagnosis(diagnosis):
    table = worst_table(diagnosis)
    assert [cell.text for cell in column(table, "layer")] == list(diagnosis.worst)
    assert [cell.text for cell in column(table, "mark")][:2] == ["(a)", "(b)"]


def test_shares_have_two_digits():
    assert percent_text(0.5) == "50"
    assert percent_text(0.0004) == "0.04"
    assert percent_text(1e-9) == "<0.0001"


def test_in_a_browser_it_sorts_filters_and_fits_a_narrow_screen(diagnosis, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no Chromium on this machine ({', '.join(names)})")
    path = tmp_path / "diagnosis.html"
    write_page(named(make_diagnosis(24), EVIL), path)
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    said: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-gpu", *root])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        assert page.title().startswith("INT8 diagnosis")
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        page.locator("#layers summary").click()
        page.locator("#layers th", has_text="SQNR, other").locator("button").click()
        first = page.locator("#layers tbody tr >> nth=0 >> th").inner_text()
        assert "document.title" in first  # the worst layer, by its name
        page.locator("#layers .filter input").fill("Add")
        assert page.locator("#layers .filter [role=status]").inner_text() == "8 of 24 layers shown"
        browser.close()
    assert said == []
