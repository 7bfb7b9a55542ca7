"""The figures of a report: drawn from the table, the same bytes for the same table.

Figures of thresholds also need the histograms that a sweep stores beside its rows. A figure belongs
to one (model, dataset, engine). On the page it is an SVG whose colour follows the theme; for
``report.md`` it is a PNG file that includes its title.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from bench.cache import write_atomically
from bench.report.charts_accuracy import accuracy_by_size, loss_map
from bench.report.charts_cost import accuracy_by_latency, calibration_cost
from bench.report.charts_search import search_trials, timed_trials
from bench.report.charts_tensors import threshold_histograms, threshold_shares
from bench.report.drawing import Drawing, Look
from bench.report.style import INK, RC, calibrator_colours, calibrator_markers
from bench.report.thresholds import Thresholds, find_thresholds
from bench.report.wording import GROUP, group_name, measured, tidy
from bench.results.histograms import HistogramStore
from bench.results.plan_search import CHOSEN, Trail
from bench.results.store import RowStore
from bench.sealed import DamagedError, warn

CHARTS: dict[str, Callable[[pd.DataFrame, Look], Drawing | None]] = {
    "accuracy-by-size": accuracy_by_size,
    "loss-map": loss_map,
    "accuracy-by-latency": accuracy_by_latency,
    "calibration-cost": calibration_cost,
}
DPI = 150
"""Resolution of a PNG file."""

MOST_SEARCHES = 4

LARGEST_SVG = 400_000
"""Most characters of an SVG: a larger one (a scatter of thousands of rows) becomes pixels."""

_NO_DATE = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Chart:
    """One figure of one group, laid out: its file's name, what to see, how to read it."""

    name: str
    group: str
    title: str
    reading: str
    figure: Figure

    @property
    def label(self) -> str:
        """The text that a screen reader reads for the figure."""
        return f"{self.group}: {self.title}. {self.reading}"


def make_chart(name: str, group: str, drawing: Drawing) -> Chart:
    """A drawing, laid out."""
    _lay_out(drawing.figure)
    return Chart(name, group, drawing.title, drawing.reading, drawing.figure)


@dataclass(frozen=True)
class ChartGroup:
    """The tidy, measured rows of one (model, dataset, engine), and how its charts look."""

    title: str
    slug: str
    rows: pd.DataFrame
    look: Look

    def chart(self, kind: str, drawing: Drawing) -> Chart:
        return make_chart(f"{self.slug}-{kind}", self.title, drawing)


def groups_of(table: pd.DataFrame) -> tuple[ChartGroup, ...]:
    """A table's groups; a calibrator looks the same in all of them."""
    return groups_in(tidy(table))


def groups_in(tidied: pd.DataFrame) -> tuple[ChartGroup, ...]:
    """The same for a tidy table."""
    rows = measured(tidied)
    look = Look(
        calibrator_colours(rows["calibrator_label"]), calibrator_markers(rows["calibrator_label"])
    )
    groups = []
    for number, (names, group_rows) in enumerate(rows.groupby(list(GROUP), sort=False)):
        title = group_name(names)
        # The number separates groups whose names differ only in characters that a file name drops.
        slug = f"{number + 1}-{file_name(' '.join(str(name) for name in names))}"
        groups.append(ChartGroup(title, slug, group_rows, look))
    return tuple(groups)


def file_name(text: str) -> str:
    """``text`` as a file name; two texts may become one name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def draw_charts(groups: Sequence[ChartGroup]) -> tuple[Chart, ...]:
    """Every figure that has data, group by group."""
    with matplotlib.rc_context(RC):
        return tuple(
            group.chart(kind, drawing)
            for group in groups
            for kind, draw in CHARTS.items()
            if (drawing := draw(group.rows, group.look))
        )


def draw_reasons(groups: Sequence[ChartGroup], store: HistogramStore) -> tuple[Chart, ...]:
    """The figures of thresholds: none for a group without histograms in ``store``."""
    return tuple(
        chart
        for group in groups
        if (thresholds := find_thresholds(group.rows, store))
        for chart in draw_thresholds(group, thresholds)
    )


def draw_searches(groups: Sequence[ChartGroup], store: RowStore) -> tuple[Chart, ...]:
    """The plan searches that rows came from, at most ``MOST_SEARCHES`` per group."""
    charts = []
    with matplotlib.rc_context(RC):
        for group in groups:
            searched = group.rows[group.rows["plan"].str.startswith(CHOSEN)]
            trails = (_trail(store, key) for key in searched["run_key"])
            for number, trail in enumerate(islice(filter(None, trails), MOST_SEARCHES), start=1):
                if drawing := search_trials(trail):
                    charts.append(group.chart(f"plan-search-{number}", drawing))
                if drawing := timed_trials(trail):
                    charts.append(group.chart(f"plan-latency-{number}", drawing))
    return tuple(charts)


def _trail(store: RowStore, key: str) -> Trail | None:
    """None for a run without a search, and for a damaged one; a warning says so."""
    try:
        content = store.read_file("plan_search", key)
        return None if content is None else Trail.from_bytes(content, Path(f"{key}.json"))
    except DamagedError as error:
        warn(f"{error}. The report leaves it out")
        return None


def draw_thresholds(group: ChartGroup, thresholds: Thresholds) -> Iterator[Chart]:
    """All tensors' thresholds, and the histograms of the chosen tensors."""
    look = group.look
    with matplotlib.rc_context(RC):
        if drawing := threshold_shares(thresholds, look):
            yield group.chart("threshold-shares", drawing)
            telling = threshold_histograms(thresholds, thresholds.telling, look)
            yield group.chart("threshold-histograms", telling)


def draw_tensor(group: ChartGroup, thresholds: Thresholds, tensor: str) -> Chart:
    """One tensor's histogram with every calibrator's threshold."""
    place = list(thresholds.tensors).index(tensor)  # makes the file name unique
    with matplotlib.rc_context(RC):
        drawing = threshold_histograms(thresholds, [tensor], group.look)
    return group.chart(f"histogram-{place}-{file_name(tensor)[-80:]}", drawing)


def _lay_out(figure: Figure) -> None:
    """Lay out the figure once: this is slow, and SVG and PNG share the layout."""
    FigureCanvasAgg(figure)  # it measures the text
    if engine := figure.get_layout_engine():
        figure.set_dpi(DPI)
        engine.execute(figure)
    figure.set_layout_engine(None)


def to_svg(chart: Chart) -> str:
    """The figure as an ``<svg>`` element to put into a page that may hold many."""
    buffer = io.StringIO()
    with matplotlib.rc_context(RC):
        chart.figure.savefig(buffer, format="svg", metadata=_NO_DATE)
    svg = re.sub(r"<!--.*?-->", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<[^>]+>", lambda tag: _tidy_tag(tag[0], chart.name), svg[svg.index("<svg") :])
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(chart.label)}"', 1)


def _tidy_tag(tag: str, name: str) -> str:
    tag = re.sub(r' xmlns(:xlink)?="[^"]*"', "", tag).replace("xlink:href", "href")
    # Ids are unique within a figure only: matplotlib uses the same numbers in every figure.
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)  # a hundredth of a point is enough
    return tag.replace(INK, "currentColor")


def to_png(chart: Chart) -> bytes:
    """The figure on white, with its title above."""
    with matplotlib.rc_context(RC):
        # A separate figure: no layout keeps a legend outside the axes clear of a title.
        width = chart.figure.get_figwidth()
        heading = Figure(figsize=(width, 0.62))
        for y, text, weight in ((0.66, chart.title, "bold"), (0.22, chart.group, "normal")):
            size = min(11.5, 11.5 * 9.6 * width / len(text))  # a long title has to fit
            heading.text(0.008, y, text, va="center", fontsize=size, fontweight=weight)
        pixels = np.vstack([_pixels(heading), _pixels(chart.figure)])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", dpi=(DPI, DPI))
    return buffer.getvalue()


def _pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """(height, width, 3): the figure on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=DPI, facecolor="white")
    pixels = np.frombuffer(buffer.getbuffer(), dtype=np.uint8)
    return pixels.reshape(-1, int(figure.get_figwidth() * DPI), 4)[:, :, :3]


def to_html(chart: Chart, largest: int = LARGEST_SVG) -> Markup:
    """SVG, or a PNG image where the SVG would be too large for a page."""
    svg = to_svg(chart)
    if len(svg) <= largest:
        return Markup(svg)
    pixels = base64.b64encode(to_png(chart)).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(chart.label, pixels)


def write_png(charts: Sequence[Chart], folder: Path) -> list[Path]:
    """Write ``<name>.png`` for each chart under ``folder``, atomically."""
    paths = [folder / f"{chart.name}.png" for chart in charts]
    for chart, path in zip(charts, paths, strict=True):
        write_atomically(path, to_png(chart))
    return paths
