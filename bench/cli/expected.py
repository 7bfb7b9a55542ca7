"""Expected results: a YAML file of cases and verdicts, and the comparison with measured rows.

A case is one run and the values that some columns of its row must have. A verdict is the judgement
of a claim of ``conf/claim`` on the rows of some cases. Names are unique. Nothing here runs a case;
see ``bench.cli.guard``.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from bench.claims.claim import load_claims, read_yaml
from bench.claims.record import read_verdicts
from bench.errors import ConfigError
from bench.report.reproduce import repeatable
from bench.results.row import COLUMNS, Row

TOLERANCE = 0.005
"""Tolerance of a written accuracy: libraries and processors round differently."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Expected(_Part):
    """The expected value of a column: a text, or a number within ``tolerance``."""

    value: float | str
    tolerance: float = 0.0

    def difference(self, measured: Any) -> str:
        """What is wrong with a row's value, in words; "" if nothing."""
        if isinstance(self.value, str):
            return (
                "" if measured == self.value else f"{measured or 'nothing'}, expected {self.value}"
            )
        if isinstance(measured, (int, float)) and abs(measured - self.value) <= self.tolerance:
            return ""
        shown = (
            f"{measured:.6g}"
            if isinstance(measured, (int, float))
            else str(measured or "not measured")
        )
        return f"{shown}, expected {self.value:g} ± {self.tolerance:g}"


class Check(_Part):
    """A named item that may be known to fail, with the reason."""

    name: str
    known_to_fail: str = ""


class Case(Check):
    """One run: its ``overrides`` as for ``make sweep``, and the expected values of its row."""

    overrides: list[str]
    expect: dict[str, Expected]

    @field_validator("overrides", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return shlex.split(given) if isinstance(given, str) else given

    @field_validator("expect")
    @classmethod
    def _columns(cls, given: dict[str, Expected]) -> dict[str, Expected]:
        unknown = [name for name in given if name not in COLUMNS]
        if unknown:
            raise ValueError(f"{unknown[0]} is not a column of the table")
        return given

    def differences(self, row: Row) -> str:
        """All that is wrong with the case's row, in words; "" if nothing."""
        if row.status != "ok" and "status" not in self.expect:
            return f"{row.status} ({row.error})"
        wrong = {
            name: expected.difference(getattr(row, name)) for name, expected in self.expect.items()
        }
        return "; ".join(f"{name} {text}" for name, text in wrong.items() if text)


class ExpectedVerdict(Check):
    """The expected verdict of a claim on the rows of ``cases``."""

    claim: str
    cases: list[str]
    verdict: str

    @field_validator("claim")
    @classmethod
    def _known(cls, given: str) -> str:
        if given not in {claim.id for claim in load_claims()}:
            raise ValueError(f"{given} is not a claim of conf/claim")
        return given


class Reference(_Part):
    """A whole file."""

    cases: list[Case]
    verdicts: list[ExpectedVerdict] = []

    @property
    def names(self) -> list[str]:
        return [*(case.name for case in self.cases), *(verdict.name for verdict in self.verdicts)]


def read_reference(path: Path) -> Reference:
    """The file's content; ConfigError for a file that holds anything else."""
    try:
        reference = Reference.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}",
            "Each case has name, overrides and expect: {column: {value, tolerance}}, and may have "
            "known_to_fail",
        ) from error
    except ValueError as error:  # unbalanced quotes
        raise ConfigError(f"{path}: overrides cannot be read ({error})", "Write a list") from error
    doubled = [name for name, count in Counter(reference.names).items() if count > 1]
    if doubled:
        raise ConfigError(f"{path} uses the name {doubled[0]} twice", "Give each a different name")
    known = {case.name for case in reference.cases}
    for verdict in reference.verdicts:
        missing = [name for name in verdict.cases if name not in known]
        if missing:
            raise ConfigError(
                f"{path}: verdict {verdict.name} names case {missing[0]}, which does not exist",
                "Use cases of this file",
            )
    return reference


def write_reference(table: pd.DataFrame, folder: Path) -> str:
    """YAML text that expects the values of ``table`` for every run that can be measured again here,
    and the folder's verdict for every decided claim."""
    cases: list[Mapping[str, Any]] = []
    names: dict[str, str] = {}
    measured = table[(table["status"] == "ok") & table["int8"].notna()]
    for row in repeatable(measured).to_dict("records"):
        names[row["run_key"]] = name = _name(row, names.values())
        cases.append({"name": name, "overrides": row["overrides"], "expect": dict(_expect(row))})
    verdicts = [
        {
            "name": verdict.id,
            "claim": verdict.id,
            "cases": [names[key] for key in verdict.rows],
            "verdict": verdict.verdict,
        }
        for verdict in read_verdicts(folder)
        if verdict.rows and verdict.verdict != "undecided" and set(verdict.rows) <= names.keys()
    ]
    content: Mapping[str, Sequence[Any]] = {"cases": cases, "verdicts": verdicts}
    return yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True)


def _expect(row: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    for name in ("fp32", "int8"):
        yield name, {"value": round(float(row[name]), 4), "tolerance": TOLERANCE}


def _name(row: Mapping[Any, Any], taken: Any) -> str:
    parts = [row[name] for name in ("model", "dataset", "calibrator", "calibration_size", "plan")]
    name = "-".join(json.dumps(part).strip('"') for part in parts)
    return name if name not in taken else f"{name}-{row['run_key']}"
