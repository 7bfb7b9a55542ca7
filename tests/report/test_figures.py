"""The figures: drawn from what is there, alike in colour, and saying what to see."""

from __future__ import annotations

import pytest

from bench.report.charts_cost import pareto_front
from bench.report.figures import draw_charts, groups_of, to_html, to_svg, write_png
from bench.report.style import INK, calibrator_colours
from bench.results.table import make_table


def test_titles_say_what_to_see(sweep):
    titles = [chart.title for chart in draw_charts(groups_of(sweep))]
    assert titles[0].endswith("depends most on calibration size: +0.022 from 8 to 64 images")
    assert titles[1] == (
        "At 64 calibration images, mse with plan float_head loses least (\N{MINUS SIGN}0.005)"
    )
    assert titles[2].startswith("6 of 6 INT8 runs")
    assert titles[3] == "Collecting statistics takes 67 % of the calibration time"


def test_fp16_stands_beside_fp32_where_it_was_timed(row):
    fp16 = {"fp16": 0.599, "fp16_delta": -0.001, "fp16_latency_p50_ms": 25.0}
    for more, shown in ((fp16, True), ({}, False)):
        charts = draw_charts(groups_of(make_table([row(**more), row(calibrator="mse", **more)])))
        (drawn,) = [to_svg(chart) for chart in charts if "latency" in chart.reading]
        assert ("FP16, same engine" in drawn) == shown


def test_heat_map_holds_the_numbers(sweep):
    svg = to_svg(draw_charts(groups_of(sweep))[1])
    for number in ("0.203", "0.033", "0.023", "0.005"):
        assert f"\N{MINUS SIGN}{number}" in svg


def test_text_is_not_rounded_with_the_coordinates(row):
    table = make_table([row(calibrator="percentile", calibrator_params="percentile=99.999")])
    assert "percentile 99.999" in to_svg(draw_charts(groups_of(table))[0])


def test_ink_follows_the_theme(sweep):
    svg = to_svg(draw_charts(groups_of(sweep))[0])
    assert "currentColor" in svg
    assert INK not in svg


def test_a_calibrator_keeps_its_colour():
    few = calibrator_colours(["minmax", "mse"])
    many = calibrator_colours(
        ["entropy2", "minmax", "mse", "of_mine", "percentile 99.9", "percentile 99.99"]
    )
    assert few["minmax"] == many["minmax"]
    assert len(set(many.values())) == len(many)


def test_a_large_figure_goes_in_as_pixels(sweep):
    html = to_html(draw_charts(groups_of(sweep))[1], 10)
    assert html.startswith('<img alt="yolov8n on shapes')
    assert "data:image/png;base64," in html


def test_files_of_groups_do_not_collide(row, tmp_path):
    table = make_table([row(model="a/b"), row(model="a b"), row(model="../../x")])
    paths = write_png(draw_charts(groups_of(table))[1:12:4], tmp_path)
    assert len({path.name for path in paths}) == 3
    assert all(path.parent == tmp_path and path.is_file() for path in paths)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1.0, 0.5)], [(1.0, 0.5)]),
        ([(2.0, 0.5), (1.0, 0.5)], [(1.0, 0.5)]),
        ([(2.0, 0.6), (1.0, 0.5), (3.0, 0.55)], [(1.0, 0.5), (2.0, 0.6)]),
    ],
)
def test_pareto_front(points, front):
    assert pareto_front(points) == front
