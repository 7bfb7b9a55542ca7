"""Whether a shown command would work, without running it.

A target of make is run with ``--dry-run``, and what it would call is checked in turn. A run's words
are composed by Hydra. Of other subcommands the parser reads the words.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from bench.__main__ import COMMANDS
from bench.environment import CONF
from tests.composing import composed
from tests.docs.fences import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

_ASSIGNMENT = re.compile(r"^([A-Z_]+)=(.*)$", re.DOTALL)
_OPTIONAL = {
    "hydra/launcher": {"basic", "joblib", "ray", "submitit_slurm", "submitit_local"},
    "hydra/sweeper": {"sharing", "basic", "optuna"},
}
"""Parts of Hydra whose packages need not be installed."""


class _ParsedError(BaseException):
    """The words were read: nothing of the command may run after that."""


class Checker:
    """``problem`` says what is wrong with a command; it remembers what was asked before."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        real = argparse.ArgumentParser.parse_args

        def read(parser: Any, words: Any = None, namespace: Any = None) -> None:
            real(parser, words, namespace)
            raise _ParsedError

        patch.setattr(argparse.ArgumentParser, "parse_args", read)
        patch.setattr("bench.cli.calibration_cache._read", str)
        self.makefile = (ROOT / "Makefile").read_text()
        self.printed: dict[tuple[str, ...], tuple[int, str]] = {}
        self.composed: dict[tuple[str, ...], str] = {}

    def problem(self, words: Sequence[str]) -> str:
        """What is wrong, or nothing."""
        while words and _ASSIGNMENT.match(words[0]):
            words = words[1:]
        first, rest = Path(words[0]).name, list(words[1:])
        if first == "make":
            return self._make(rest)
        if first == "int8bench":
            return self._bench(rest)
        if first.startswith("python"):
            return self._python(rest)
        if first == "pip":
            return _extras(rest)
        if words[0].startswith("scripts/"):
            return "" if (ROOT / words[0]).is_file() else f"{words[0]} does not exist"
        near = difflib.get_close_matches(words[0], ["make", "int8bench", "python", "pip"], 1, 0.7)
        return f"{words[0]} looks like {near[0]}" if near else ""

    # make

    def _make(self, words: list[str]) -> str:
        status, text = self._dry(words)
        if status:
            return text.strip()
        if "--dry-run" in words:
            return ""
        for word in words:
            if (given := _ASSIGNMENT.match(word)) and not self._reads(given[1], word, words):
                return f"nothing reads {word} in make {shlex.join(words)}"
        for line in text.splitlines():
            if "/int8bench " in line:
                called = shlex.split(line)
                if wrong := self._bench(called[1:]):
                    return wrong
        return ""

    def _reads(self, name: str, word: str, words: list[str]) -> bool:
        """Whether another value makes make do something else."""
        if f"export {name} " in self.makefile:
            return True
        others = [given for given in words if given != word]
        return self._dry([*others, f"{name}=quite-another"]) != self._dry(others)

    def _dry(self, words: Sequence[str]) -> tuple[int, str]:
        """Exit status and what make would do where nothing is installed."""
        asked = tuple(words)
        if asked not in self.printed:
            ended = subprocess.run(
                ["make", "--dry-run", "--always-make", "--no-print-directory", *words],
                cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            said = ended.stderr if ended.returncode else ended.stdout
            self.printed[asked] = ended.returncode, said.replace("\\\n", " ")
        return self.printed[asked]

    # int8bench

    def _bench(self, words: list[str]) -> str:
        if not words or words[0] in ("--help", "--version"):
            return ""
        if words[0] in ("sweep", "diagnose", "judge"):
            return self._overrides(words[1:])
        if words[0] in COMMANDS:
            return _parse(words)
        if "=" in words[0] or words[0] == "--multirun":
            return self._overrides(words)
        return f"{words[0]} is not a command of int8bench"

    def _overrides(self, words: Sequence[str]) -> str:
        """What Hydra says to the first value of each, and of groups to every value."""
        asked = tuple(word for word in words if not word.startswith("-") and "=" in word)
        if asked not in self.composed:
            self.composed[asked] = _compose(OverridesParser.create().parse_overrides(list(asked)))
        return self.composed[asked]

    def _python(self, words: list[str]) -> str:
        if words[:2] == ["-m", "bench"]:
            return self._bench(words[2:])
        if words[:1] == ["-m"]:
            found = importlib.util.find_spec(words[1])
            return "" if found else f"there is no module {words[1]}"
        is_ours = words[:1] and words[0].startswith("scripts/")
        return f"{words[0]} does not exist" if is_ours and not (ROOT / words[0]).is_file() else ""


def _compose(overrides: Sequence[Override]) -> str:
    words = []
    for override in overrides:
        key = override.key_or_group
        values = [
            str(value)
            for value in (
                override.sweep_string_iterator()
                if override.is_sweep_override()
                else [override.get_value_element_as_str()]
            )
        ]
        if key in _OPTIONAL:
            if unknown := set(values) - _OPTIONAL[key]:
                return f"there is no {key}={unknown.pop()}"
        elif not key.startswith(("hydra.launcher.", "hydra.sweeper.")):
            words.append(f"{override.get_key_element()}={values[0]}")
        if (CONF / key).is_dir():
            for value in values:
                if value != "null" and not (CONF / key / f"{value}.yaml").is_file():
                    return f"there is no {key}={value}"
    try:
        composed(*words)
    except Exception as error:
        return f"{' '.join(words)}: {error}"
    return ""


def _parse(words: Sequence[str]) -> str:
    module, _ = COMMANDS[words[0]]
    if words[0] == "data":
        unknown = set(words[1:]) - {path.stem for path in (CONF / "data").glob("*")} - {"--help"}
        if unknown:
            return f"there is no dataset {unknown.pop()}"
    try:
        status = importlib.import_module(module).main(list(words[1:]))
    except _ParsedError:
        return ""
    except SystemExit as end:  # of argparse: 0 for --help
        return f"{shlex.join(words)} is not read" if end.code else ""
    return f"{shlex.join(words)} ends with {status}"


def _extras(words: Sequence[str]) -> str:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {
        e for word in words for given in re.findall(r"\[(.*)\]", word) for e in given.split(",")
    }
    return f"there is no extra {(asked - set(known)).pop()}" if asked - set(known) else ""
