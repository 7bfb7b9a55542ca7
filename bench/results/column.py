"""A column of the results table as data: its meaning, and how it is shown."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["higher", "lower", None]
Kind = Literal["text", "whole", "number"]
Format = Literal["plain", "difference", "share"]

Role = Literal[
    "axis",  # a setting: runs that differ in an axis are different runs on purpose
    "effect",  # an axis whose effect on the accuracy the report shows
    "fingerprint",  # an axis that distinguishes runs without a readable reason
    "condition",  # rows that differ in one were not measured against the same thing
    "group",  # only rows that agree in these are compared with each other
    "graph",  # rows that agree in these run the same layers: only the scales differ
    "key",  # leads every listing
    "result", "kernels", "fp16", "foretold", "built",  # in a listing of runs that measured this
    "beside",  # not in a listing: the title or a neighbouring cell has it
    "provenance",  # where and with what a run was made
    "bundle",  # goes into a bundle, to say which row it is made of
]  # fmt: skip


@dataclass(frozen=True)
class Column:
    """The meaning of one column of the table, and how it is shown.

    ``kind``, ``required`` and ``default`` are those of the row's field. ``heading`` names it in a
    table, ``phrase`` in a sentence, ``verdict`` in a claim's verdict; each defaults to the column's
    name with spaces. ``label`` names a value in a configuration's name if the table has several
    values, in the order of ``label_order``; ``ordinary`` is the value that is not named.
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
    """A dataclass field that carries its ``Column``; without a default it is required."""
    meta = {"column": Column(description, roles=frozenset(roles), **more)}
    return field(default=default, metadata=meta)


def complete(row_field: dataclasses.Field[Any]) -> Column:
    """The column of a field of the row, completed from the field's name and type."""
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
