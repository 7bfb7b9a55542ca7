"""A diagnosis's tables as columns: what stands over each, and how a line fills it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bench.report.diagnosis_numbers import NOTHING, Cell, count_cell
from bench.report.drawing import short_name

LONGEST = 90
"""Longest name in a table; a longer name shows its end, which says more than its beginning."""


class Named(Protocol):
    """A layer, a block or a tensor."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Head:
    """The head of a column; ``meaning`` is its tooltip."""

    label: str
    meaning: str
    numeric: bool = True
    is_name: bool = False


@dataclass(frozen=True)
class Column(Generic[T]):
    head: Head
    cell: Callable[[T], Cell]


@dataclass(frozen=True)
class Marks:
    """The first column: the label of a line in the chart."""

    head: Head
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """``unit`` names its lines ("layers"); ``marked`` are the places of highlighted lines."""

    title: str
    unit: str
    heads: tuple[Head, ...]
    lines: tuple[tuple[Cell, ...], ...]
    marked: frozenset[int] = frozenset()


def name_column(label: str, meaning: str) -> Column[T]:
    def cell(item: T) -> Cell:
        producer = getattr(item, "producer", "")
        note = f"computed by {producer}" if producer else ""
        shown = short_name(" ".join(item.name.split()), LONGEST) or "(no name)"
        return Cell(shown, item.name, note if shown == item.name else f"{item.name} {note}".strip())

    return Column(Head(label, meaning, numeric=False, is_name=True), cell)


def places(count: int) -> Marks:
    head = Head("#", "its place in the network, as in the chart")
    return Marks(head, tuple(count_cell(place) for place in range(1, count + 1)))


def text_cell(text: str) -> Cell:
    return Cell(text, text) if text else NOTHING


def make_table(
    title: str, unit: str, columns: Sequence[Column[T]], items: Sequence[T], marks: Marks,
    marked: frozenset[int] = frozenset(),
) -> Table:  # fmt: skip
    """Without the columns that have no value in any line."""
    cells = [[column.cell(item) for column in columns] for item in items]
    used = [
        place for place in range(len(columns)) if any(not line[place].is_missing for line in cells)
    ]
    heads = (marks.head, *(columns[place].head for place in used))
    lines = tuple(
        (mark, *(line[place] for place in used))
        for mark, line in zip(marks.cells, cells, strict=True)
    )
    return Table(title, unit, heads, lines, marked)
