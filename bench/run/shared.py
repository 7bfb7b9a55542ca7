"""Objects that the runs of a sweep share: each is made once, by the first run that needs it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

T = TypeVar("T")

MOST = 4
"""Default number of objects of one kind that are held: a sweep processes its models one after the
other."""


class Shared:
    """Objects by kind and key. The least recently used one is removed and closed to make room.

    A context manager that closes the remaining objects at the end. Only context managers, such as
    sessions, are closed.
    """

    def __init__(self) -> None:
        self._held: dict[str, OrderedDict[Hashable, object]] = {}

    def once(self, kind: str, key: Hashable, make: Callable[[], T], most: int = MOST) -> T:
        """The object for this key, made by ``make`` if none is held."""
        held = self._held.setdefault(kind, OrderedDict())
        if key not in held:
            held[key] = make()
            if len(held) > most:
                _close(held.popitem(last=False)[1])
        held.move_to_end(key)
        return cast(T, held[key])

    def close(self) -> None:
        """Close and forget everything; later requests make new objects."""
        for held in self._held.values():
            while held:
                _close(held.popitem()[1])

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _close(thing: Any) -> None:
    if isinstance(thing, AbstractContextManager):
        thing.__exit__(None, None, None)
