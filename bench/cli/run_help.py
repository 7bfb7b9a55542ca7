"""What ``int8bench sweep --help`` lists of ``conf/``: the groups that a run chooses from, and the
presets with what they measure."""

from __future__ import annotations

import textwrap
from pathlib import Path

READ_ELSEWHERE = frozenset({"claim", "data", "experiment", "head", "reference"})
"""Folders of ``conf/`` that are no key of a run, or are listed apart."""

_WIDTH = 100


def listed_groups(conf: Path) -> str:
    """One line per group, with its choices."""
    groups = sorted(path for path in conf.iterdir() if path.is_dir())
    return "\n".join(
        _wrapped(f"{group.name}: {', '.join(sorted(file.stem for file in group.glob('*.yaml')))}")
        for group in groups
        if group.name not in READ_ELSEWHERE
    )


def listed_presets(conf: Path) -> str:
    """One entry per preset, with the comment at the top of its file."""
    files = sorted((conf / "experiment").glob("*.yaml"))
    return "\n".join(_wrapped(f"+experiment={file.stem}: {_comment(file)}") for file in files)


def _comment(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    first = [line for line in lines if not line.startswith("# @package")]
    comment = first[: next(i for i, line in enumerate(first) if not line.startswith("#"))]
    return " ".join(line.lstrip("# ") for line in comment)


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
