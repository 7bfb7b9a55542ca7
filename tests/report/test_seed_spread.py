"""Other calibration sets are another source of variance than other images: told apart."""

from __future__ import annotations

import re

import pytest

from bench.report.figures import draw_charts, groups_of, to_svg
from bench.report.page import Report, render_html
from bench.report.summary import summarize
from bench.results.table import make_table


@pytest.fixture
def seeded(row):
    """Two rules, three seeds; entropy2 depends on the calibration set."""
    deltas = {"minmax": (-0.010, -0.012, -0.008), "entropy2": (-0.20, -0.02, -0.21)}
    return make_table([
        row(calibrator=rule, calibration_seed=seed, calibration_size=size, delta=delta)
        for rule, own in deltas.items() for seed, delta in enumerate(own) for size in (8, 64)
    ])  # fmt: skip


def test_both_intervals_stand_beside_each_other(seeded):
    best = summarize(seeded).answers[0].best
    assert best.spread is not None
    assert best.spread.accuracies == "3 calibration sets: 0.588 to 0.592"
    assert best.spread.differences == "3 calibration sets: −0.012 to −0.008"
    # Over images alone it would be −0.014 to −0.006: sets vary by 0.002 too (there are only three),
    # and four configurations were to choose from.
    assert best.interval == "−0.023 to +0.003"
    assert "3 calibration sets: −0.012 to −0.008" in summarize(seeded).answers[0].sentence


def test_the_page_shows_every_calibrators_spread(seeded):
    text = re.sub(r"<[^>]+>", " ", render_html(Report(summarize(seeded))))
    assert "95 % interval over images and calibration sets −0.023 to +0.003" in text
    assert "INT8 with 3 calibration sets: 0.588 to 0.592" in text
    assert "−0.210 to −0.020" in text


def test_one_seed_has_no_spread(row):
    table = make_table([row(), row(calibrator="mse", calibration_seed=1)])
    answer = summarize(table).answers[0]
    assert [result.spread for result in answer.results] == [None, None]
    page = render_html(Report(summarize(table)))
    assert "What another calibration set would give is not known." in page
    assert "over calibration sets" not in page


@pytest.mark.parametrize("size", [None, 8])
def test_the_figure_draws_the_sets_apart_from_the_images(seeded, size):
    table = seeded if size is None else seeded[seeded["calibration_size"] == size]
    alone = table[table["calibration_seed"] == 0]
    with_seeds, without = draw_charts(groups_of(table))[0], draw_charts(groups_of(alone))[0]
    assert "means over 3 seeds" in with_seeds.reading
    assert "the calibration sets of these seeds" in with_seeds.reading
    assert "seeds" not in without.reading
    drawn = [
        svg.count("<path") + svg.count("<use") for svg in (to_svg(with_seeds), to_svg(without))
    ]
    assert drawn[0] > drawn[1]
