"""A table's report: one page that needs nothing else, the same in Markdown, and the figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

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
from bench.report.figures import Chart, draw_charts, draw_reasons, to_html, write_png
from bench.report.listing import common_facts, environment_facts, key_listings, rest_listing
from bench.report.reproduce import reproduce_command
from bench.report.summary import Summary, summarize_folder
from bench.report.verdicts import NO_CLAIMS, ClaimsRecord, percent, read_record
from bench.report.wording import plural, signed
from bench.results.error_analysis import LossStore
from bench.results.folder import SweepFolder
from bench.results.histograms import HistogramStore
from bench.results.row import COLUMNS
from bench.results.table import read_table

WHY = "Why: thresholds on the histograms"

MOST_CELLS = 40_000
"""The page stays under 5 MB: of a larger table it shows the key columns only."""


@dataclass(frozen=True, eq=False)
class Report:
    """What a report shows: ``reasons`` are the charts that tell why, ``losses`` tell where.

    ``pictures`` are those of the losses' examples, by name.
    """

    table: pd.DataFrame
    summary: Summary
    charts: tuple[Chart, ...] = ()
    reasons: tuple[Chart, ...] = ()
    record: ClaimsRecord = NO_CLAIMS
    losses: tuple[GroupLosses, ...] = ()
    pictures: Mapping[str, EncodedPicture] = field(default_factory=dict)


def write_report(folder: Path) -> Path:
    """Redraw ``report.html``, ``report.md`` and ``figures/*.png`` from ``folder/table.csv``.

    Where the sweep's histograms are beside it, the report also shows why, where the runs' losses
    are, where they lose, and where claims.json is (see ``make claims``) what became of published
    claims; it does without them.
    Returns the page's path; raises DataError when there is no table to draw from.
    """
    table, paths = _read(folder), SweepFolder(folder)
    reasons = draw_reasons(table, HistogramStore(folder))
    summary, kept = summarize_folder(table, folder), LossStore(folder)
    losses = find_losses(table, summary, kept)
    report = Report(
        table, summary, draw_charts(table), reasons, read_record(folder), losses,
        encode_pictures(losses, kept),
    )  # fmt: skip
    write_atomically(paths.report_html, render_html(report).encode())
    write_atomically(paths.report_markdown, render_markdown(report).encode())
    write_png((*report.charts, *report.reasons), paths.figures)
    return paths.report_html


def render_html(report: Report) -> str:
    """The page, with the figures in it."""
    rest = rest_listing(report.table, report.summary)
    fits = len(rest.heads) * len(rest.lines) <= MOST_CELLS
    return _render(
        "report.html.j2",
        report,
        drawn={chart.name: to_html(chart) for chart in (*report.charts, *report.reasons)},
        rest=rest if fits else None,
        common=common_facts(report.table),
        pictures=report.pictures,
        few=FEW,
        fewest=FEWEST_IMAGES,
        glossary=COLUMNS,
    )


def render_markdown(report: Report) -> str:
    """The same report for a repository or a chat: the figures are files beside it."""
    return _render("report.md.j2", report)


def _read(folder: Path) -> pd.DataFrame:
    table = read_table(folder)
    if table.empty:
        raise DataError(f"{SweepFolder(folder).table_csv} has no rows", "Run the sweep first")
    return table


def _render(template: str, report: Report, **more: object) -> str:
    table = report.table
    names = {
        name: list(table[name].astype(str).unique()) for name in ("model", "dataset", "engine")
    }
    parts = (("figures", "Figures", report.charts), ("why", WHY, report.reasons))
    return (
        _templates()
        .get_template(template)
        .render(
            names=names,
            summary=report.summary,
            record=report.record,
            losses=report.losses,
            shown_classes=SHOWN_CLASSES,
            sections=[(key, title, _by_group(own)) for key, title, own in parts if own],
            listings=key_listings(table, report.summary),
            environment=environment_facts(table),
            command=reproduce_command(table),
            **more,
        )
    )


def _by_group(charts: tuple[Chart, ...]) -> list[tuple[str, list[Chart]]]:
    return [(name, list(own)) for name, own in groupby(charts, key=lambda chart: chart.group)]


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("bench.report", "."),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "signed": signed,
        "plural": plural,
        "percent": percent,
        "md": escape_markdown,
    }
    return environment


def escape_markdown(text: object) -> str:
    """Text that Markdown shows as it is, also inside a table.

    >>> escape_markdown("a|b <script>")
    'a\\\\|b &lt;script&gt;'
    """
    safe = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*\[\]])", r"\\\1", " ".join(safe.split()))
