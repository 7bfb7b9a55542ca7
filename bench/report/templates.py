"""The templates of pages and Markdown, and the filters they may call. Pages escape all text.

The pages share their look (``look.css``) and the script that sorts and filters (``tables.js``).
"""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from bench.report.verdicts import percent
from bench.report.wording import plural, signed


def render(template: str, **values: object) -> str:
    """A template of this package as text."""
    return _templates().get_template(template).render(**values)


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
    """Escape text so that Markdown shows it unchanged, also inside a table.

    >>> escape_markdown("a|b <script>")
    'a\\\\|b &lt;script&gt;'
    """
    safe = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*\[\]])", r"\\\1", " ".join(safe.split()))
