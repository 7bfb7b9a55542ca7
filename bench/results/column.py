"""A column of the results table as data: what it says, and how all who show it say it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["higher", "lower", None]
Kind = Literal["text", "whole", "number"]
Format = Literal["plain", "difference", "share"]

Role = Literal[
    "axis",  # what was asked: runs that differ in an axis are different runs on purpose
    "effect",  # an axis whose effect on the accuracy the report tells
    "fingerprint",  # an axis that tells runs apart, but not why
    "condition",  # rows that differ in one were not measured against the same thing
    "group",  # only rows that agree in these are compared with each other
    "graph",  # rows that agree in these run the same layers: only the scales differ
    "key",  # leads every listing
    # what a listing shows of runs that measured such a thing
    "result", "kernels", "fp16", "foretold", "built",
    "beside",  # has no place in a listing: its title or a neighbouring cell says it
    "provenance",  # on what and with what a run was made
    "bundle",  # goes into a bundle, to say which row it is made of
]  # fmt: skip


@dataclass(frozen=True)
class Column:
    """What one column of the table means, and how it is shown.

    ``kind``, ``required`` and ``default`` are those of the row's field. ``heading`` stands over it
    in a table, ``phrase`` in a sentence, ``verdict`` in a claim's verdict; each is the column's
    name with spaces where nothing else is said. ``label`` says a value in a configuration's name,
    where the table has several, in the order of ``label_order``; ``ordinary`` is the value that
    goes without saying.
    """

    description: str
    unit: str = ""
    better: Better = None
    roles: frozenset[Role] = frozenset()
    heading: str = ""
    phrase: str = ""
    verdict: str = ""
    label: str = ""
    label_order: int = 0
    ordinary: str = ""
    format: Format = "plain"
    kind: Kind = "number"
    required: bool = False
    default: Any = None


def column(description: str, *roles: Role, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """A dataclass field that carries its ``Column``; without a default it must be given."""
    meta = {"column": Column(description, roles=frozenset(roles), **more)}
    return field(default=default, metadata=meta)


def complete(row_field: dataclasses.Field[Any]) -> Column:
    """The column that a field of the row carries, with what its name and type say."""
    carried: Column = row_field.metadata["column"]
    words = row_field.name.replace("_", " ")
    return dataclasses.replace(
        carried,
        heading=carried.heading or words,
        phrase=carried.phrase or words,
        verdict=carried.verdict or words,
        kind=_kind(str(row_field.type)),
        required=row_field.default is dataclasses.MISSING,
        default=None if row_field.default is dataclasses.MISSING else row_field.default,
    )


def _kind(type_name: str) -> Kind:
    if "str" in type_name or "Literal" in type_name:
        return "text"
    return "whole" if "int" in type_name.split() else "number"
