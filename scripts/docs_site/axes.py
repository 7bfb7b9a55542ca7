"""The page of every axis: the groups of ``conf/`` with their choices, and every plain key."""

from __future__ import annotations

import dataclasses
import types
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from bench.cli.config import Config
from scripts.docs_site.markdown import code, table
from scripts.docs_site.yaml_comments import Entry, entries, leading_comment

GROUPS = {
    "model": "What is quantized. Any of them takes `model.path=FILE.onnx` for a file of yours.",
    "head": "How the outputs of a detector or classifier are read: `model.head=NAME`. "
    "A model of the list above has its head already.",
    "dataset": "Where images and labels come from.",
    "calibrator": "The rule that turns the statistics of a tensor into its threshold.",
    "plan": "Which layers stay in float.",
    "engine": "What builds and runs the INT8 model.",
    "timing": "Whether latency is measured.",
    "also_build": "An engine that is built beside the measured one, and not run.",
    "tracking": "A tracker that finished rows are logged to.",
}
"""The groups of ``conf/`` that a run chooses from, in the order of the page."""

OTHER_GROUPS = {
    "data": "`int8bench data` fetches these (`make data NAME=...`).",
    "experiment": "Presets: `int8bench sweep +experiment=quick` sets several keys at once.",
    "claim": "`int8bench claims` judges these on your rows.",
    "reference": "Published cases that the report sets beside your rows.",
}
"""The groups that commands read."""

_INTERNAL = ("_target_", "_self_", "name", "defaults")


def axes_page(conf: Path) -> str:
    """The page, from the YAML files under ``conf``."""
    parts = [_INTRODUCTION]
    for group, text in GROUPS.items():
        parts += [f"## {group}", text, _choices(conf, group)]
        if options := _options(conf, group):
            parts += [f"Options of `{group}`:", options]
    parts += ["## Other keys", _OTHER_KEYS, _plain_keys(conf)]
    parts += ["## Launchers and sweepers", _LAUNCHERS]
    for group, text in OTHER_GROUPS.items():
        parts += [f"## {group}", text, _choices(conf, group)]
    return "\n\n".join(parts) + "\n"


def description(path: Path) -> str:
    """What a file of ``conf/`` is: its first comment, or the statement or title that it has."""
    text = path.read_text()
    if comment := leading_comment(text):
        return comment
    content = yaml.safe_load(text)
    return str(content.get("statement") or content.get("title") or "")


def _choices(conf: Path, group: str) -> str:
    files = sorted((conf / group).glob("*.yaml"))
    rows = [[code(file.stem), description(file)] for file in files]
    if group not in ("claim", "reference"):
        return table(["value", "meaning"], rows)
    sources = [_sources(yaml.safe_load(file.read_text())["source"]) for file in files]
    return table(
        ["name", "statement", "source"], [[*row, s] for row, s in zip(rows, sources, strict=True)]
    )


def _sources(given: str | list[str]) -> str:
    """Sources, addresses as links."""
    several = [given] if isinstance(given, str) else given
    shown = [f"<{text}>" if text.startswith("http") else text for text in several]
    return ", ".join(shown)


def _options(conf: Path, group: str) -> str:
    """Every option that a choice of the group has, with its value as it comes."""
    if group in ("model", "head", "tracking", "also_build"):
        return ""
    rows = []
    for file in sorted((conf / group).glob("*.yaml")):
        for entry in entries(file.read_text()):
            if entry.path.split(".")[0] not in _INTERNAL:
                comment = (
                    "" if entry.comment == leading_comment(file.read_text()) else entry.comment
                )
                rows.append([code(f"{group}={file.stem}"), code(f"{group}.{entry.path}"),
                             code(entry.value), comment])  # fmt: skip
    return table(["with", "option", "default", "meaning"], rows) if rows else ""


def _plain_keys(conf: Path) -> str:
    allowed = allowed_values()
    rows = []
    for entry in entries((conf / "config.yaml").read_text()):
        top = entry.path.split(".")[0]
        if top not in ("defaults", "hydra") and (entry.value or entry.path in allowed):
            rows.append([code(entry.path), code(entry.value),
                         ", ".join(code(value) for value in allowed.get(entry.path, ())),
                         _comment(entry, conf)])  # fmt: skip
    rows += [
        [code(path), code("null"), ", ".join(code(value) for value in values), _PREPROCESS]
        for path, values in allowed.items()
        if path.startswith("model.preprocess.")
    ]
    return table(["key", "default", "values", "meaning"], rows)


def _comment(entry: Entry, conf: Path) -> str:
    """The comment of a key, or of the mapping that it stands in."""
    if entry.comment:
        return entry.comment
    every = {e.path: e.comment for e in entries((conf / "config.yaml").read_text())}
    return every.get(entry.path.rpartition(".")[0], "")


def allowed_values() -> dict[str, tuple[str, ...]]:
    """Key -> the values that Hydra accepts, of every key with a fixed list, and of the model's
    preprocessing all keys."""
    return dict(_walk(Config, ""))


def _walk(config: Any, prefix: str) -> list[tuple[str, tuple[str, ...]]]:
    found: list[tuple[str, tuple[str, ...]]] = []
    for name, kind in get_type_hints(config).items():
        path = f"{prefix}{name}"
        inner = _without_none(kind)
        if dataclasses.is_dataclass(inner):
            found += _walk(inner, f"{path}.")
        elif isinstance(inner, type) and issubclass(inner, Enum):
            found.append((path, tuple(member.name for member in inner)))
        elif path.startswith("model.preprocess."):
            found.append((path, ()))
    return found


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        [kind] = [part for part in get_args(kind) if part is not type(None)][:1]
    return kind


_INTRODUCTION = """# Axes and options

Every choice is a key of the command line. One value makes one run; several values, separated by
commas, make a sweep over their product:

```bash
int8bench sweep calibrator=minmax,entropy2 calibration.size=8,64 plan=all,float_head
```

`make sweep` has a short variable for the usual keys (see [make targets](targets.md)) and takes
all others as `OVERRIDES='KEY=VALUE ...'`. `int8bench sweep --help` prints the same lists. This
page is generated from `conf/`: the first table of a section lists the values, the second their
options.

A change of an axis makes a new row. Files count by their content: a copy of a folder gives the
same rows, a replaced file gives new ones."""

_OTHER_KEYS = "Keys that are not files of a group. `null` means: not set."

_PREPROCESS = "Preprocessing of the model; `null`: as its head or its file says."

_LAUNCHERS = """| key | values | meaning |
| --- | --- | --- |
| `hydra/launcher` | `basic`, `joblib`, `ray`, `submitit_slurm`, `submitit_local` | \
where runs are made: see [many runs](../how-to/many-runs.md) |
| `hydra/sweeper` | `sharing` (every combination), `optuna` (a search) | what chooses the runs |"""
