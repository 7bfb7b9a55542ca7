"""The page of every subcommand of ``int8bench``, from their own help."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence

from bench.__main__ import COMMANDS, main
from scripts.docs_site.markdown import code, table

_SWEEP = """```text
usage: int8bench sweep KEY=VALUE[,VALUE...] ...
```

Measures every combination of the values given, and writes `results/MODEL-DATASET/report.html`.
The keys are those of [axes and options](axes.md). `int8bench sweep --help` prints them with
their values. `int8bench sweep --cfg job KEY=VALUE ...` prints the configuration of a run and
computes nothing; `int8bench sweep --hydra-help` lists Hydra's other options. `python -m bench
KEY=VALUE ...` makes one run."""

_CACHE = ("show", "rewrite", "diff", "export")


def commands_page() -> str:
    """The page: what each command does, and its options."""
    listed = [[f"[`{name}`](#{name})", text] for name, (_, text) in COMMANDS.items()]
    parts = [_INTRODUCTION, table(["command", "what it does"], listed)]
    for name in COMMANDS:
        parts += [f"## {name}", _SWEEP if name == "sweep" else _block(help_of([name, "--help"]))]
        if name == "cache":
            parts += [_block(help_of([name, inner, "--help"])) for inner in _CACHE]
    return "\n\n".join(parts) + "\n"


def help_of(words: Sequence[str]) -> str:
    """What a command prints about itself, for a terminal of 100 columns."""
    said = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main(words)
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return said.getvalue().strip()


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


_INTRODUCTION = f"""# Commands

`pip install .` (or the wheel) gives the command {code("int8bench")}. It works from any folder:
results go to `results/` where you are, and what sweeps share goes to your cache folder
(`$BENCH_CACHE` names another). `python -m bench` is the same command. This page is generated
from the commands' own help.

Exit status: 0 success; 1 a check found a difference (`guard`, `cache diff`, `doctor`); 2 the
input is wrong or a run failed, with one line that says what, where and how to fix it; 130
interrupted."""
