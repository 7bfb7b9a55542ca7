"""README files of bundles and kits."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def readme_templates(package: str) -> Environment:
    """The environment of the Markdown template README.md.j2 in a package. Nothing is escaped: that
    is the template's part."""
    return Environment(
        loader=PackageLoader(package, "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
