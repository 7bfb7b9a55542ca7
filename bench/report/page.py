"""A table's report: one self-contained page, the same in Markdown, and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

from bench.cache import write_atomically
from bench.errors import DataError
from bench.evaluation.interval import FEWEST_IMAGES
from bench.report.error_analysis import (
    FEW,
    SHOWN_CLASSES,
    EncodedPicture,
    GroupLosses,
    encode_pictures,
    find_losses,
)
from bench.report.figures import (
    Chart,
    draw_charts,
    draw_reasons,
    draw_searches,
    file_name,
    groups_in,
    to_html,
    write_png,
)
from bench.report.limits import drawn_of, listed_of
from bench.report.listing import common_facts, environment_facts, key_listings, rest_listing
from bench.report.reproduce import measure_command, reproduce_command
from bench.report.summary import Summary, summarize_folder
from bench.report.templates import render
from bench.report.verdicts import NO_CLAIMS, ClaimsRecord, read_record
from bench.results.error_analysis import LossStore
from bench.results.folder import SweepFolder
from bench.results.histograms import HistogramStore
from bench.results.row import COLUMNS
from bench.results.store import RowStore
from bench.results.table import read_table

WHY = "Why: thresholds on the histograms"

MOST_CELLS = 40_000
"""Keeps the page under 5 MB: a larger table shows the key columns only."""


@dataclass(frozen=True, eq=False)
class Report:
    """What a report shows: ``reasons`` are charts of the cause, ``losses`` say where INT8 loses.

    ``pictures`` are those of the losses' examples, by name.
    """

    summary: Summary
    charts: tuple[Chart, ...] = ()
    reasons: tuple[Chart, ...] = ()
    record: ClaimsRecord = NO_CLAIMS
    losses: tuple[GroupLosses, ...] = ()
    pictures: Mapping[str, EncodedPicture] = field(default_factory=dict)

    @property
    def undrawn(self) -> int:
        """How many groups have no figures because the sweep is large."""
        groups, drawn = len(self.summary.answers), drawn_of(self.summary.rows)
        return 0 if drawn is None else max(0, groups - drawn)

    @cached_property
    def shared(self) -> Mapping[str, object]:
        """The values that both templates, page and Markdown, use."""
        rows = self.summary.tidied
        parts = (("figures", "Figures", self.charts), ("why", WHY, self.reasons))
        return {
            "names": {name: list(rows[name].unique()) for name in ("model", "dataset", "engine")},
            "summary": self.summary,
            "record": self.record,
            "losses": self.losses,
            "undrawn": self.undrawn,
            "shown_classes": SHOWN_CLASSES,
            "sections": [(key, title, _by_group(charts)) for key, title, charts in parts if charts],
            "listings": key_listings(self.summary),
            "environment": environment_facts(rows),
            "command": reproduce_command(rows),
        }


def redraw_report(folder: Path) -> Path:
    """The report of a finished sweep, from ``folder/table.csv``; DataError where there is none."""
    return write_report(folder, summarize_folder(read_table(folder), folder))


def write_report(folder: Path, summary: Summary, part: str = "") -> Path:
    """Write ``report.html``, ``report.md`` and ``figures/*.png`` of a table's ``summary``; of a
    ``part`` of the table ``report-PART.html`` and ``.md``.

    With the sweep's histograms the report also shows why INT8 loses, with the runs' loss files
    where it loses, and with claims.json (see ``make claims``) the verdicts on published claims.
    All three are optional.
    Returns the page's path; raises DataError for a table without rows.
    """
    paths, loss_store = SweepFolder(folder), LossStore(folder)
    if not summary.rows:
        raise DataError(f"{paths.table_csv} has no rows", "Run the sweep first")
    drawn = drawn_of(summary.rows)
    groups = groups_in(summary.tidied)[:drawn]
    losses = find_losses(summary, loss_store, drawn, listed_of(summary.rows))
    report = Report(
        summary, (*draw_charts(groups), *draw_searches(groups, RowStore(folder))),
        draw_reasons(groups, HistogramStore(folder)),
        read_record(folder), losses, encode_pictures(losses, loss_store),
    )  # fmt: skip
    page = paths.report_html.with_stem(f"report-{file_name(part)}") if part else paths.report_html
    write_atomically(page, render_html(report).encode())
    write_atomically(page.with_suffix(".md"), render_markdown(report).encode())
    write_png((*report.charts, *report.reasons), paths.figures)
    return page


def render_html(report: Report) -> str:
    """The page, with the figures in it."""
    return _render(
        "report.html.j2",
        report,
        drawn={chart.name: to_html(chart) for chart in (*report.charts, *report.reasons)},
        rest=rest_listing(report.summary, MOST_CELLS),
        common=common_facts(report.summary.tidied),
        pictures=report.pictures,
        few=FEW,
        fewest=FEWEST_IMAGES,
        glossary=COLUMNS,
    )


def render_markdown(report: Report) -> str:
    """The same report as Markdown for a repository or a chat; the figures are separate files."""
    return _render("report.md.j2", report)


def _render(template: str, report: Report, **more: object) -> str:
    measure = partial(measure_command, report.summary.tidied)
    return render(template, **report.shared, measure=measure, **more)


def _by_group(charts: tuple[Chart, ...]) -> list[tuple[str, list[Chart]]]:
    return [(name, list(group)) for name, group in groupby(charts, key=lambda chart: chart.group)]
