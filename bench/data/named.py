"""Images found by a name that somebody else wrote down, perhaps before folders were moved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath


class Names:
    """``find(entry)``: the images whose path ends as the entry does, or the entry as theirs.

    So ``train/a.png`` and ``/data/old/train/a.png`` both find ``a.png``; a path that is exactly the
    entry goes before those that end so.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._paths = [PurePath(name) for name in names]
        self._alike: dict[str, list[int]] = defaultdict(list)
        for index, path in enumerate(self._paths):
            self._alike[path.name].append(index)

    def find(self, entry: str) -> list[int]:
        """Indices into the names: none, one, or several that cannot be told apart."""
        path = PurePath(entry)
        alike = self._alike.get(path.name, [])
        exact = [index for index in alike if self._paths[index] == path]
        return exact or [i for i in alike if _same_end(path.parts, self._paths[i].parts)]


def _same_end(one: Sequence[str], other: Sequence[str]) -> bool:
    return all(a == b for a, b in zip(reversed(one), reversed(other), strict=False))
