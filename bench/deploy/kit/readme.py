"""The page of a kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.results.row import Row


def kit_page(facts: Mapping[str, Any], rows: Sequence[Row], sizes: Mapping[str, int]) -> str:
    """README.md, as Markdown."""
    environment = Environment(
        loader=PackageLoader("bench.deploy.kit", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("README.md.j2").render(facts=facts, rows=rows, sizes=sizes)
