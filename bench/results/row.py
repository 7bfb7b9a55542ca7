"""The one schema of the results table: a run is one ``Row``, a column is data.

Each field carries its ``Column``: its meaning, its unit and which direction is better. Tables,
plots and the report's page are generated from these; nothing else knows a column's meaning. The
columns themselves are declared in ``bench.results.columns``, by idea.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import shlex
from dataclasses import dataclass
from typing import Any

from bench.results.column import Column, Kind, Role, complete
from bench.results.columns.accuracy import Accuracy
from bench.results.columns.axes import Axes
from bench.results.columns.build import Build
from bench.results.columns.cost import Cost
from bench.results.columns.fidelity import Fidelity
from bench.results.columns.latency import Latency
from bench.results.columns.provenance import Provenance
from bench.results.history import in_table_order, upgrade

LARGEST = 2**63 - 1
"""The largest whole number that a table holds."""

KEY_PATTERN = r"\w[\w -]*"
"""The pattern of a run's key, since it names files."""

KEY_VERSION = 1
"""Version of how run keys are made, not of the schema: renaming a column changes no result."""


@dataclass(frozen=True, kw_only=True)
class Row(Build, Latency, Cost, Fidelity, Accuracy, Provenance, Axes):
    """One run: its settings, its results, and its environment. Unmeasured values are None."""

    @classmethod
    def of(
        cls,
        axes: Axes,
        provenance: Provenance,
        accuracy: Accuracy,
        fidelity: Fidelity,
        latency: Latency,
        cost: Cost,
        build: Build,
    ) -> Row:
        """The row of these parts. NaN and infinity become None: JSON cannot hold them."""
        values: dict[str, Any] = {
            column.name: getattr(part, column.name)
            for part in (axes, provenance, accuracy, fidelity, latency, cost, build)
            for column in dataclasses.fields(part)
        }
        return cls(**{name: _finite(value) for name, value in values.items()})

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in COLUMNS}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Row:
        """Also reads older schemas; ``TypeError`` or ``ValueError`` for an unknown one."""
        row = cls(**upgrade(dict(**values)))
        if not isinstance(row.run_key, str) or not re.fullmatch(KEY_PATTERN, row.run_key):
            raise ValueError(f"run_key {row.run_key!r} cannot name a file")
        shlex.split(row.overrides)  # ValueError for unbalanced quotes
        return row

    def check(self) -> None:
        """Raise ValueError for a value not of its column's kind, which no table could hold."""
        for name, kind, optional in _KINDS:
            value = getattr(self, name)
            if not ((value is None and optional) or _fits(value, kind)):
                raise ValueError(f"{name} is {str(value)[:40]!r}")


def _fits(value: Any, kind: Kind) -> bool:
    """Whether a column of this kind can hold the value, in Parquet too."""
    if kind == "text":
        return isinstance(value, str) and (value.isascii() or _is_utf8(value))
    if isinstance(value, float):
        return math.isfinite(value) and (kind == "number" or value.is_integer())
    return type(value) is int and -(2**63) <= value <= LARGEST


def _is_utf8(text: str) -> bool:
    return text == text.encode(errors="ignore").decode()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


_FIELDS = {field.name: field for field in dataclasses.fields(Row)}

OPTIONAL = frozenset(name for name, field in _FIELDS.items() if "None" in str(field.type))
"""The columns that may have no value."""

COLUMNS: dict[str, Column] = {
    name: complete(_FIELDS[name]) for name in in_table_order(list(_FIELDS))
}
"""Every column of the table, in the order of ``table.csv``."""

_KINDS = [(name, column.kind, name in OPTIONAL) for name, column in COLUMNS.items()]


def columns_with(role: Role) -> tuple[str, ...]:
    """The names of the columns that have a role, in the order of their declaration."""
    return tuple(name for name in _FIELDS if role in COLUMNS[name].roles)


def run_key(**everything: object) -> str:
    """A hash of everything that can change a result, including the version of this function."""
    text = json.dumps({"schema": KEY_VERSION, **everything}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
