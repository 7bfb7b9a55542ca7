"""A column of the results table as data: what it says, its unit and which direction is better."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Better = Literal["higher", "lower", None]


@dataclass(frozen=True)
class Column:
    """What one column of the table means."""

    description: str
    unit: str = ""
    better: Better = None


def column(
    description: str, *, unit: str = "", better: Better = None, default: Any = dataclasses.MISSING
) -> Any:
    """A dataclass field that carries its ``Column``; without a default it must be given."""
    meta = {"column": Column(description, unit, better)}
    if default is dataclasses.MISSING:
        return field(metadata=meta)
    return field(default=default, metadata=meta)
