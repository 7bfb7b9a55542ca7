"""The page of a kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.deploy.readme import readme_templates
from bench.results.row import Row


def kit_page(facts: Mapping[str, Any], rows: Sequence[Row], sizes: Mapping[str, int]) -> str:
    """README.md, as Markdown."""
    page = readme_templates("bench.deploy.kit").get_template("README.md.j2")
    return page.render(facts=facts, rows=rows, sizes=sizes)
