"""The comments of a YAML file: PyYAML reads values alone.

The files of ``conf/`` put a comment either above a key or behind its value, where it may go on in
the lines below; this reads both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w./@]+):(?P<rest>.*)$")


@dataclass(frozen=True)
class Entry:
    """A key with its dotted path, its value as written, and its comment on one line."""

    path: str
    value: str
    comment: str


def leading_comment(text: str) -> str:
    """The block of comments at the top of a file, on one line; Hydra's own headers left out.

    >>> leading_comment("# @package _global_\\n# A rule,\\n# on two lines.\\nkey: 1  # other")
    'A rule, on two lines.'
    """
    block: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            block.append(line.lstrip("# "))
    return " ".join(block).strip()


def entries(text: str) -> list[Entry]:
    """Every key of a mapping of mappings, in order, with the comment above or behind it.

    >>> entries("# Above.\\na:\\n  b: 1  # behind,\\n          # and on\\n")[1]
    Entry(path='a.b', value='1', comment='behind, and on')
    """
    found: list[Entry] = []
    above: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        stripped = line.strip()
        matched = _KEY.match(line)
        if stripped.startswith("#"):
            if found and line.index("#") > 8:  # behind a value, going on
                last = found.pop()
                found.append(Entry(last.path, last.value, f"{last.comment} {stripped[1:].strip()}"))
            else:
                above.append(stripped[1:].strip())
        elif matched:
            indent = len(matched["indent"])
            parents = [parent for parent in parents if parent[0] < indent]
            value, _, behind = matched["rest"].partition(" #")
            path = ".".join([*(name for _, name in parents), matched["key"]])
            comment = behind.strip() or " ".join(above)
            found.append(Entry(path, value.strip(), comment))
            parents.append((indent, matched["key"]))
            above = []
        else:
            above = []
    return found
