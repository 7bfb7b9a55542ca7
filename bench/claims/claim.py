"""A published claim as data: its statement, its source, its rows, and the test that decides it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from bench.environment import CONF
from bench.errors import ConfigError
from bench.results.options import DATASET
from bench.results.row import COLUMNS

Quantity = Literal[
    "difference", "relative_difference", "restored", "relative_change", "kept", "ratio", "winner"
]
"""What is measured, of a pair of rows (first, second) or of one row:

* ``difference``           first minus second, in the metric
* ``relative_difference``  the same as a share of the FP32 metric
* ``restored``             the same as a share of what the second row loses against FP32
* ``winner``               by how much the winner of the pair changes along ``over``: the smaller of
                           the two sides' largest leads; below 0 where one side always leads
* ``ratio``                first over second, of the sum of ``columns``
* ``relative_change``      INT8 minus FP32, as a share of FP32, of single rows
* ``kept``                 INT8 over FP32, of single rows
"""
OF_PAIRS = frozenset({"difference", "relative_difference", "restored", "ratio", "winner"})

Conditions = Mapping[str, Any]
"""Column, or option of the dataset (``dataset.NAME``) -> value, list of values, pattern or bound
(``>=500``)."""


@dataclass(frozen=True)
class Criterion:
    """The claim holds where ``quantity`` lies ``expect`` (above or below) ``threshold``."""

    quantity: Quantity
    expect: Literal["above", "below"] = "above"
    threshold: float = 0.0
    columns: tuple[str, ...] = ()
    over: str = ""

    @property
    def sign(self) -> int:
        return 1 if self.expect == "above" else -1


@dataclass(frozen=True)
class Claim:
    """One published claim; ``first`` and ``second`` select the rows of its pairs.

    The rows of a pair agree in everything except ``first``, ``second`` and the columns of ``free``.
    ``measure`` are the overrides of a sweep that would measure it; empty where this program cannot.
    ``exists``: the claim says that something can happen. One configuration supports such a claim,
    and no number of configurations refutes it.
    """

    id: str
    statement: str
    source: tuple[str, ...]
    test: Criterion
    where: Conditions = dataclasses.field(default_factory=dict)
    first: Conditions = dataclasses.field(default_factory=dict)
    second: Conditions = dataclasses.field(default_factory=dict)
    free: tuple[str, ...] = ()
    measure: str = ""
    note: str = ""
    exists: bool = False

    @property
    def about(self) -> frozenset[str]:
        """The columns and keys in which the rows of a pair may differ."""
        implied = {
            "calibrator": {"calibrator_params"},
            "dataset.calibration_domain": {"calibration_fingerprint"},
            "dataset.calibration_outlier": {"calibration_fingerprint"},
        }
        named = {*self.first, *self.second, *self.free}
        return frozenset(named.union(*(implied.get(name, set()) for name in named)))


def load_claims(folder: Path = CONF / "claim") -> tuple[Claim, ...]:
    """Every claim of a folder, by name; ConfigError for a file that is not a claim."""
    return tuple(_claim(path) for path in sorted(folder.glob("*.yaml")))


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; ConfigError where it does not."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read ({reason})", "Fix its YAML") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a mapping of names to values", "Write KEY: VALUE lines")
    return {str(key): value for key, value in content.items()}


def check_fields(path: Path, content: Mapping[str, Any], kind: type, required: set[str]) -> None:
    """Raise ConfigError for an unknown field, and for a required one that is missing or empty."""
    known = [field.name for field in dataclasses.fields(kind)]
    for name in content:
        if name not in known:
            raise ConfigError(f"{path} has no field '{name}'", f"Use {', '.join(known)}")
    for name in sorted(required):
        if content.get(name) in (None, "", [], {}):
            raise ConfigError(f"{path} lacks {name}", f"Add '{name}: ...'")


def sources_of(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """The source or sources: each an address or a precise reference."""
    given = content["source"]
    sources = tuple(given) if isinstance(given, list) else (given,)
    for source in sources:
        if not isinstance(source, str) or len(source) < 8:
            raise ConfigError(
                f"{path}: '{source}' is not a source", "Give an address or a reference"
            )
    return sources


def _claim(path: Path) -> Claim:
    content = read_yaml(path)
    check_fields(path, content, Claim, {"id", "statement", "source", "test"})
    if content["id"] != path.stem:
        raise ConfigError(f"{path} has the id {content['id']}", f"Name it {path.stem}")
    for part in ("where", "first", "second"):
        _check_conditions(path, part, content.get(part) or {})
    test = _test(path, content["test"])
    if (test.quantity in OF_PAIRS) != bool(content.get("first") and content.get("second")):
        need = "first and second" if test.quantity in OF_PAIRS else "no first and second"
        raise ConfigError(f"{path}: quantity {test.quantity} needs {need}", "Change one of them")
    return Claim(
        id=path.stem,
        statement=" ".join(str(content["statement"]).split()),
        source=sources_of(path, content),
        test=test,
        where=content.get("where") or {},
        first=content.get("first") or {},
        second=content.get("second") or {},
        free=tuple(content.get("free") or ()),
        measure=" ".join(str(content.get("measure") or "").split()),
        note=" ".join(str(content.get("note") or "").split()),
        exists=_flag(path, content, "exists"),
    )


def _flag(path: Path, content: Mapping[str, Any], name: str) -> bool:
    given = content.get(name, False)
    if not isinstance(given, bool):
        raise ConfigError(f"{path}: {name}={given} is not true or false", "Write true or false")
    return given


def _test(path: Path, content: Any) -> Criterion:
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: test is not a mapping", "Write quantity, expect and threshold")
    check_fields(path, content, Criterion, {"quantity"})
    for name, allowed in (("quantity", get_args(Quantity)), ("expect", ("above", "below"))):
        if name in content and content[name] not in allowed:
            raise ConfigError(
                f"{path}: test.{name}={content[name]} is unknown", f"Use {', '.join(allowed)}"
            )
    threshold = content.get("threshold", 0.0)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise ConfigError(f"{path}: test.threshold={threshold} is not a number", "Give a number")
    columns = tuple(content.get("columns") or ())
    if (content["quantity"] == "ratio") != bool(columns):
        raise ConfigError(f"{path}: ratio, and only ratio, needs test.columns", "Name columns")
    over = str(content.get("over") or "")
    if (content["quantity"] == "winner") != bool(over):
        raise ConfigError(f"{path}: winner, and only winner, needs test.over", "Name a column")
    _check_conditions(path, "test", (*columns, *([over] if over else [])))
    return Criterion(content["quantity"], content.get("expect", "above"), threshold, columns, over)


def _check_conditions(path: Path, part: str, names: Mapping[str, Any] | Sequence[str]) -> None:
    if not isinstance(names, (dict, tuple)):
        raise ConfigError(f"{path}: {part} is not a mapping", "Write COLUMN: VALUE lines")
    for name in names:
        if name not in COLUMNS and not str(name).startswith(DATASET):
            raise ConfigError(
                f"{path}: {part} has an unknown column '{name}'",
                f"Use a column of table.csv, or an option of the dataset: {DATASET}NAME",
            )
