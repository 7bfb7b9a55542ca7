"""The page of every column of ``table.csv``."""

from __future__ import annotations

import dataclasses

from bench.results.column import Column
from bench.results.columns.accuracy import Accuracy
from bench.results.columns.axes import Axes
from bench.results.columns.build import Build
from bench.results.columns.cost import Cost
from bench.results.columns.fidelity import Fidelity
from bench.results.columns.latency import Latency
from bench.results.columns.provenance import Provenance
from bench.results.row import COLUMNS
from scripts.docs_site.markdown import code, table

PARTS = {
    "What was asked": Axes,
    "Accuracy": Accuracy,
    "Fidelity": Fidelity,
    "Latency": Latency,
    "Cost": Cost,
    "Builds for other machines": Build,
    "Provenance": Provenance,
}


def columns_page() -> str:
    """The page: one table for each part of a row."""
    parts = [_INTRODUCTION]
    for heading, part in PARTS.items():
        names = [field.name for field in dataclasses.fields(part)]
        rows = [_row(name, COLUMNS[name]) for name in names]
        parts += [f"## {heading}", table(["column", "meaning", "unit", "better"], rows)]
    return "\n\n".join(parts) + "\n"


def _row(name: str, column: Column) -> list[str]:
    return [code(name), column.description, column.unit, column.better or ""]


_INTRODUCTION = """# Columns of the table

`table.csv` and `table.parquet` hold one row per run and one column per field. This page is
generated from `bench/results/columns/`; the end of every report has the same list. A value that
was not measured is empty. [Read the report and the table](../how-to/read-results.md) explains
the columns that matter most."""
