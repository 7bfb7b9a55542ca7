"""The fewest of some layers that are needed, by trials of whole groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def needed(layers: Sequence[str], enough: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """A smallest part of ``layers`` that is ``enough``: without any one of it, it is not.

    All of them are enough, and a set with more layers than an ``enough`` one is, too. Those at the
    end are left out first. With k needed of n, about 2k + k log2(n/k) sets are tried (QuickXplain:
    Junker, AAAI 2004). If ``enough`` is not consistent, the answer may be larger, or not enough.

    >>> needed("abcdefgh", lambda some: {"c", "f"} <= set(some))
    ('c', 'f')
    """
    if not layers or enough(()):
        return ()
    return _needed((), False, tuple(layers), enough)


def _needed(
    fixed: tuple[str, ...],
    changed: bool,
    layers: tuple[str, ...],
    enough: Callable[[tuple[str, ...]], bool],
) -> tuple[str, ...]:
    """The part of ``layers`` needed beside ``fixed``; ``changed``: ``fixed`` was not tried yet."""
    if changed and enough(fixed):
        return ()
    if len(layers) == 1:
        return layers
    half = (len(layers) + 1) // 2
    first, last = layers[:half], layers[half:]
    of_last = _needed((*fixed, *first), True, last, enough)
    of_first = _needed((*fixed, *of_last), bool(of_last), first, enough)
    return (*of_first, *of_last)
