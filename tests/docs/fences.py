"""The commands that the documentation shows: fenced blocks, and inline code that is a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:make|int8bench|python|pip|scripts/)[^`]*)`")
_PLACEHOLDER = re.compile(r"\.\.\.|KEY=VALUE")


def pages() -> list[Path]:
    """The pages that users read, but for those that are generated."""
    fixed = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "datasets/README.md",
             "results/README.md", "results/reference/README.md"]  # fmt: skip
    return [*(ROOT / name for name in fixed), *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Shown:
    """A command as a page shows it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def fences(text: str) -> list[tuple[str, str]]:
    """Language and content of every fenced block."""
    return _FENCE.findall(text)


def shown_commands(text: str, page: str = "") -> Iterator[Shown]:
    """Every command of a page: of blocks marked as bash each line, and inline code that begins with
    a command and has no placeholder. Comments are left out, and continued lines joined."""
    for language, content in fences(text):
        if language == "bash":
            for line in content.replace("\\\n", " ").splitlines():
                yield from _commands(line, page)
    for inline in _INLINE.findall(_FENCE.sub("", text)):
        if " " in inline and not _PLACEHOLDER.search(inline):
            yield from _commands(_mentioned(inline), page)


def _mentioned(inline: str) -> str:
    """A command as it stands, or of one that is named without arguments what needs none."""
    if re.fullmatch(r"int8bench( [a-z]+)+", inline):
        return f"{inline} --help"
    return re.sub(r"^make (\S+)$", r"make --dry-run \1", inline)


def _commands(line: str, page: str) -> Iterator[Shown]:
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word not in ("&&", "|", ">"):
            words.append(word)
        elif words:
            yield Shown(page, tuple(words))
            words = []
        if word == ">":
            return
