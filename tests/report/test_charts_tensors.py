"""The pictures of why: thresholds where they lie, the telling tensors, and the one command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

from bench.cli.histograms import main
from bench.report.charts_tensors import columns, threshold_histograms, threshold_shares
from bench.report.drawing import Look
from bench.report.figures import groups_of
from bench.report.page import redraw_report
from bench.report.style import calibrator_colours, calibrator_markers
from bench.report.thresholds import TELLING, Thresholds, find_thresholds
from bench.results.histograms import HistogramStore, TensorHistogram
from bench.results.table import make_table, read_table, write_table
from scripts import compare_thresholds

BINS = 2048
GREY = 916
"""The bin of the padding's grey, 114/255."""


def seen(name: str, amax: float, spike: float = 0.0) -> TensorHistogram:
    counts = np.full(BINS + 1, 10, np.int64)
    total = int(counts.sum())
    counts[GREY] += int(total * spike / (1 - spike))
    return TensorHistogram(name, 0.0, amax, int(counts.sum()), counts)


NAMES = ["images", *(f"/model.{i}/Conv_output_0" for i in range(9))]
TENSORS = {name: seen(name, 1.0 + i, 0.3 * (i == 0)) for i, name in enumerate(NAMES)}
SHARES = {"minmax": [1.0] * 10, "entropy2": [0.45, *np.linspace(0.9, 0.1, 9)]}
AMAX = {
    rule: {n: s * TENSORS[n].amax for n, s in zip(NAMES, shares, strict=True)}
    for rule, shares in SHARES.items()
}
LOOK = Look(calibrator_colours(AMAX), calibrator_markers(AMAX))


@pytest.fixture
def thresholds() -> Thresholds:
    return Thresholds("all", 16, TENSORS, AMAX)


@pytest.fixture
def swept(tmp_path, row) -> Path:
    """Two rules on two plans and two sizes, with their evidence."""
    store, rows = HistogramStore(tmp_path), []
    for rule, amax in AMAX.items():
        for size in (8, 16):
            for plan, names in (("float_first", NAMES[1:]), ("all", NAMES)):
                made = row(
                    calibrator=rule,
                    calibration_size=size,
                    plan=plan,
                    statistics_key=f"s{size}",
                )
                scale = size / 16  # so that a picture of the smaller size would be another
                own = {name: [-amax[name] * scale, amax[name] * scale] for name in names}
                store.add_ranges(made.run_key, json.dumps(own))
                rows.append(made)
    for size in (8, 16):
        store.add_histograms(f"s{size}", lambda: list(TENSORS.values()))
    write_table(make_table(rows), tmp_path)
    return tmp_path


def test_shares_are_drawn_in_network_order(thresholds):
    drawing = threshold_shares(thresholds, LOOK)
    lines = {line.get_label(): line for line in drawing.figure.axes[0].lines}
    for rule, shares in SHARES.items():
        np.testing.assert_allclose(lines[rule].get_ydata(), shares)
        assert to_hex(lines[rule].get_color()).lower() == LOOK.colours[rule].lower()
    assert drawing.title == (
        "entropy2 clips most: at 0.10 of the observed maximum on /model.8/Conv (output); "
        "at 0.47 on the median tensor"
    )


def test_what_is_far_below_the_maximum_is_named(thresholds):
    named = {text.get_text() for legend in threshold_shares(thresholds, LOOK).figure.legends
             for text in legend.get_texts()}  # fmt: skip
    assert "(a) 0.45 entropy2: images" in named
    assert "(f) 0.10 entropy2: /model.8/Conv (output)" in named


def test_telling_are_the_input_and_where_the_rules_disagree(thresholds):
    assert thresholds.telling == ["images", *NAMES[-TELLING + 1 :]]


def test_tensors_that_share_a_range_tell_it_once(thresholds):
    shared = {
        rule: amax | {NAMES[7]: amax[NAMES[8]], NAMES[6]: amax[NAMES[8]]}
        for rule, amax in AMAX.items()
    }
    telling = Thresholds("all", 16, TENSORS, shared).telling
    assert set(NAMES[6:9]) & set(telling) == {NAMES[6]}


def test_every_threshold_is_a_line_on_its_histogram(thresholds):
    drawing = threshold_histograms(thresholds, ["images", NAMES[9]], LOOK)
    for axes, name in zip(drawing.figure.axes, ["images", NAMES[9]], strict=True):
        lines = {str(line.get_label()).rpartition(" ")[0]: line for line in axes.lines}
        assert set(lines) == set(AMAX)
        for rule, line in lines.items():
            assert list(line.get_xdata()) == [AMAX[rule][name]] * 2
            assert line.get_color() == LOOK.colours[rule]
        assert {t.get_text() for t in axes.get_legend().get_texts()} == {
            str(line.get_label()) for line in lines.values()
        }
        assert axes.get_yscale() == "log"
        assert axes.get_xlim()[1] > max(amax[name] for amax in AMAX.values())
    assert f"{AMAX['entropy2'][NAMES[9]]:.4g} (entropy2)" in drawing.title


def test_a_spike_is_told(thresholds):
    drawing = threshold_histograms(thresholds, ["images", NAMES[1]], LOOK)
    assert "A single bin, at 0.447, holds 30 % of all values of images." in drawing.reading
    told, silent = ([text.get_text() for text in axes.texts] for axes in drawing.figure.axes)
    assert told == ["30 % of all values"]
    assert silent == []


def test_a_column_is_the_fullest_of_its_bins():
    counts, edges = columns(TENSORS["images"])
    place = int(np.searchsorted(edges, GREY / BINS)) - 1
    assert counts[place] == TENSORS["images"].counts[GREY]
    assert edges[0] == 0
    assert edges[-1] >= 1.0
    assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_images_of_8_bits_seem_to_have_no_gaps(low):
    values = np.abs(np.linspace(low, 1.0, 256))
    whole = np.zeros(BINS + 1, np.int64)
    whole[np.rint(values * BINS).astype(int)] = 100
    counts, _ = columns(TensorHistogram("images", low, 1.0, 25600, whole))
    assert (counts == 100).all()


def test_thresholds_of_no_kind_are_left_out_and_far_ones_told(thresholds):
    """In float, zero throughout, and with the range of something larger."""
    tensors = TENSORS | {"zero": seen("zero", 0.0), "float": seen("float", 2.0)}
    amax = {rule: own | {"zero": 1.0, NAMES[3]: 900.0} for rule, own in AMAX.items()}
    odd = Thresholds("all", 16, tensors, amax)
    assert odd.quantized == NAMES
    drawing = threshold_shares(odd, LOOK)
    assert "The widest is 225 times" in drawing.reading
    assert "↑ 225" in [text.get_text() for text in drawing.figure.axes[0].texts]
    for name in ("zero", "float"):
        assert name in threshold_histograms(odd, [name], LOOK).title


def test_one_calibrator_is_enough():
    alone = Thresholds("all", 1, TENSORS, {"minmax": AMAX["minmax"]})
    assert threshold_shares(alone, LOOK).title.startswith("No calibrator clips")
    assert (
        threshold_histograms(alone, ["images"], LOOK).title
        == "Threshold of images with 1 calibrator: 1"
    )


def test_the_largest_size_and_the_plan_with_most_tensors_are_taken(swept):
    (group,) = groups_of(read_table(swept))
    found = find_thresholds(group.rows, HistogramStore(swept))
    assert (found.size, found.plan_label) == (16, "all")
    assert found.amax == AMAX
    assert list(found.tensors) == NAMES


def test_the_report_shows_why(swept):
    page = redraw_report(swept).read_text()
    assert '<h2 id="why-title">Why: thresholds on the histograms</h2>' in page
    assert '<a href="#why">Why</a>' in page
    assert page.count("<figure>") == 6
    assert "entropy2 clips most" in page
    assert "the histograms beside it" in page
    assert len(page) < 1_000_000
    markdown = (swept / "report.md").read_text()
    for kind in ("threshold-shares", "threshold-histograms"):
        path = swept / "figures" / f"1-yolov8n-shapes-openvino-{kind}.png"
        assert f"(figures/{path.name})" in markdown
        assert imread(path).std() > 0.05


def test_the_report_without_histograms_is_drawn_all_the_same(swept):
    for path in (swept / "histograms").iterdir():
        path.unlink()
    page = redraw_report(swept).read_text()
    assert page.count("<figure>") == 4
    assert "Why" not in page
    assert "Drawn from table.csv alone" in page
    assert "Why" not in (swept / "report.md").read_text()


def test_the_command_draws_what_is_asked_for(swept, tmp_path, capsys):
    out = tmp_path / "drawn"
    assert main([str(swept), "--tensor", "images", NAMES[2], "--out", str(out)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(out.iterdir()) == sorted(paths)
    assert [path.name.partition("histogram-")[2] for path in paths] == [
        "0-images.png", "2-model-1-Conv-output-0.png",
    ]  # fmt: skip
    assert main([str(swept)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(swept / "figures" / f"1-yolov8n-shapes-openvino-threshold-{kind}.png")
        for kind in ("shares", "histograms")
    ]


def test_the_command_lists_tensors_and_thresholds(swept, capsys):
    assert main([str(swept), "--list"]) == 0
    group, head, *lines = capsys.readouterr().out.splitlines()
    assert group == "yolov8n on shapes, openvino"
    assert head.split() == ["observed", "entropy2", "minmax", "tensor"]
    assert [line.split()[-1] for line in lines] == NAMES
    assert lines[0].split() == ["1", "0.45", "1", "images"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--tensor", "image"], "tensor image is unknown. Did you mean images?"),
        (["--tensor", "#"], "tensor # is unknown. --list shows all"),
        (
            ["--tensor", "images", "/model.3/Conv"],
            "/model.3/Conv is unknown. Did you mean /model.3/",
        ),
    ],
)
def test_an_unknown_tensor_is_one_line(swept, asked, told, capsys):
    assert main([str(swept), *asked]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert told in said.err


def test_a_folder_without_histograms_is_one_line(tmp_path, row, capsys):
    assert main([str(tmp_path)]) == 2
    assert "table.csv does not exist" in capsys.readouterr().err
    write_table(make_table([row()]), tmp_path)
    assert main([str(tmp_path), "--list"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"error: {tmp_path} has no histograms. Run the sweep again into a new folder: it stores "
        "them\n"
    )


# --- how far calibrators lie apart ----------------------------------------------------------------


def test_two_calibrators_are_compared_tensor_by_tensor(swept, tmp_path, capsys):
    out = tmp_path / "new" / "apart.csv"
    assert compare_thresholds.main([str(swept), "--csv", str(out)]) == 0
    assert "entropy2" in capsys.readouterr().out
    (line,) = pd.read_csv(out).to_dict("records")
    assert (line["a"], line["b"], line["images"], line["tensors"]) == ("minmax", "entropy2", 16, 10)
    assert line["median"] == pytest.approx(np.median(SHARES["entropy2"]), abs=1e-4)
    assert line["> 1 % apart"] == 1.0
    assert line["> 10 % apart"] == pytest.approx(
        np.mean(np.array(SHARES["entropy2"]) < 1 / 1.1), abs=1e-4
    )


def test_a_folder_without_ranges_is_told_in_one_line(tmp_path, row, capsys):
    write_table(make_table([row()]), tmp_path)
    assert compare_thresholds.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
