"""MkDocs' hook (``mkdocs.yml``): adds the generated pages, and what lies outside of ``docs/``.

A page links to the repository's files as they lie (``../../results/reference/x.csv``), so that its
links work where the repository is read too. Those files are copied into the site, and the links led
to the copies.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # of the command mkdocs, which does not look where it is called

from bench.environment import CONF  # noqa: E402
from scripts.docs_site.axes import axes_page  # noqa: E402
from scripts.docs_site.columns import columns_page  # noqa: E402
from scripts.docs_site.commands import commands_page  # noqa: E402
from scripts.docs_site.targets import targets_page  # noqa: E402

PAGES = (
    "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "results/README.md", "datasets/README.md",
    "results/reference/README.md",
)  # fmt: skip
"""Pages of the repository that are pages of the site as well."""

_LINK = re.compile(r"(?<=\]\()(?P<up>(?:\.\./)+)(?P<rest>[^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, the repository's pages, and the record's files."""
    made = {
        "reference/axes.md": axes_page(CONF),
        "reference/columns.md": columns_page(),
        "reference/commands.md": commands_page(),
        "reference/targets.md": targets_page(ROOT),
    }
    for name, content in made.items():
        pointer = files.get_file_from_path(name)  # for who reads the repository
        if pointer is not None:
            files.remove(pointer)
        files.append(File.generated(config, name, content=content))
    record = [path for path in (ROOT / "results" / "reference").iterdir() if path.is_file()]
    for path in [*(ROOT / name for name in PAGES), *record]:
        name = path.relative_to(ROOT).as_posix()
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave ``docs/`` to the copies, and links of copies back into it."""
    here = posixpath.dirname(page.file.src_uri)
    if page.file.src_uri in PAGES:
        return re.sub(r"(?<=\]\()((?:\.\./)*)docs/", r"\1", markdown)

    def led(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", here, found[0]))
        if target.startswith("docs/") or files.get_file_from_path(target) is None:
            return found[0]
        return posixpath.relpath(target, here or ".")

    return _LINK.sub(led, markdown)
