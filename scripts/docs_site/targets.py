"""The page of every target and variable of the Makefile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scripts.docs_site.markdown import code, table

_TARGET = re.compile(r"^([a-z-]+):.*?## (.*)$", re.MULTILINE)
_VARIABLE = re.compile(r"^(?:export )?([A-Z_]+) \?=\s*(.*?)(\\?)$")


@dataclass(frozen=True)
class Variable:
    """A variable that a user may set: its value as it comes, and the comment above it."""

    name: str
    default: str
    comment: str


def targets(makefile: str) -> dict[str, str]:
    """Target -> what it does, as ``make help`` lists them."""
    return dict(_TARGET.findall(makefile))


def variables(makefile: str) -> list[Variable]:
    """The variables in their order; a comment is that of all variables right below it.

    >>> variables("# Two.\\nA ?= 1\\nB ?=\\n\\nC ?= 2\\n")[1]
    Variable(name='B', default='', comment='Two.')
    """
    found: list[Variable] = []
    comment: list[str] = []
    inside = False  # of the variables that the comment is for
    for line in makefile.splitlines():
        matched = _VARIABLE.match(line)
        if line.startswith("#"):
            comment = [*([] if inside else comment), line.lstrip("# ")]
            inside = False
        elif matched:
            default = matched[2].strip()
            found.append(Variable(matched[1], "" if matched[3] else default, " ".join(comment)))
            inside = True
        elif not line.startswith(("\t", " ")):
            comment, inside = [], False
    return found


def targets_page(root: Path) -> str:
    """The page, from the Makefile of ``root``."""
    makefile = (root / "Makefile").read_text()
    listed = table(
        ["target", "what it does"],
        [[code(f"make {name}"), text] for name, text in targets(makefile).items()],
    )
    known = table(
        ["variable", "default", "meaning"],
        [[code(v.name), _default(v), v.comment] for v in variables(makefile)],
    )
    return f"{_INTRODUCTION}\n\n{listed}\n\n## Variables\n\n{_VARIABLES}\n\n{known}\n"


def _default(variable: Variable) -> str:
    return "computed" if "$" in variable.default else code(variable.default)


_INTRODUCTION = """# Make targets

Every target makes what it needs: the first one creates `.venv` with the pinned dependencies
(about a minute). `make help` prints this list. This page is generated from the Makefile."""

_VARIABLES = """Written behind the target: `make sweep MODEL=resnet18 SIZES=8,64`. `make` prints
the command that it runs. A comment above several variables is for all of them."""
