"""What the runs of a sweep share: each thing made once, by the first run that asks for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

T = TypeVar("T")

MOST = 4
"""Things of one kind that are held at a time, unless said otherwise: a sweep over models goes
through one after the other."""


class Shared:
    """Things by kind and key. What was not asked for longest makes room, and is closed.

    A context manager: what is still held is closed at the end. Only what is a context manager
    itself is closed, such as a session.
    """

    def __init__(self) -> None:
        self._held: dict[str, OrderedDict[Hashable, object]] = {}

    def once(self, kind: str, key: Hashable, make: Callable[[], T], most: int = MOST) -> T:
        """The thing that ``make`` made for this key, made now if none is held."""
        held = self._held.setdefault(kind, OrderedDict())
        if key not in held:
            held[key] = make()
            if len(held) > most:
                _close(held.popitem(last=False)[1])
        held.move_to_end(key)
        return cast(T, held[key])

    def close(self) -> None:
        """Close and forget everything; what is asked for later is made anew."""
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
