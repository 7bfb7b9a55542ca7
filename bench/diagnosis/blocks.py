"""Layers in groups: by name prefix or, where names have no structure, by consecutive runs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

FEWEST, MOST = 5, 30
"""Number of blocks that stays readable; fewer for a network with few layers."""

USUAL = 12

_PART = re.compile(r"[^/.]+")


def group_layers(names: Sequence[str], crossing: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The layers of each block by the block's name, both in the order of the network.

    ``names`` are the layers' in that order; ``crossing`` has the number of tensors that cross the
    cut in front of each. Names are split at "/" and ".": "/model.22/cv2.0/conv/Conv" begins with
    "/model", "/model.22" and so on. The last part names the operator and begins nothing.
    """
    depths = range(1, max((len(_parts(name)) for name in names), default=0) + 1)
    grouped = [_by_beginning(names, depth) for depth in depths]
    fitting = [blocks for blocks in grouped if min(FEWEST, len(names)) <= len(blocks) <= MOST]
    return fitting[0] if fitting else _in_a_row(names, crossing)


def _parts(name: str) -> list[int]:
    """The end of each part of the name except the last."""
    return [match.end() for match in _PART.finditer(name)][:-1]


def _by_beginning(names: Sequence[str], depth: int) -> dict[str, tuple[str, ...]]:
    blocks: dict[str, list[str]] = {}
    for name in names:
        ends = _parts(name)
        beginning = name[: ends[min(depth, len(ends)) - 1]] if ends else "/"
        blocks.setdefault(beginning, []).append(name)
    return {beginning: tuple(layers) for beginning, layers in blocks.items()}


def _in_a_row(names: Sequence[str], crossing: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Runs of about equal length; each ends where few tensors cross, within a third of it."""
    count = min(len(names), max(FEWEST, min(USUAL, math.ceil(len(names) / 3))))
    length = len(names) / count if count else 1.0
    starts = [0]
    for number in range(1, count):
        wanted = round(number * length)
        reach = int(length / 3)
        near = range(max(wanted - reach, starts[-1] + 1), min(wanted + reach, len(names) - 1) + 1)
        if near:
            starts.append(min(near, key=lambda i: (crossing.get(names[i], 0), abs(i - wanted))))
    ends = [*starts[1:], len(names)]
    runs = [tuple(names[a:b]) for a, b in zip(starts, ends, strict=True) if a < b]
    return {run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}": run for run in runs}
