"""Images that calibrate and are evaluated too: what INT8 loses there says little of new ones."""

from __future__ import annotations

from collections.abc import Iterable

from bench.data.dataset import Samples
from bench.data.files import FileSamples


def count_shared(
    chosen: Samples, used: Iterable[int], evaluated: Samples, against: Iterable[int]
) -> int | None:
    """How many of the images ``used`` of ``chosen`` have the content of one of ``evaluated``.

    A link and a copy of another name count too. None where either side does not lie in files.
    """
    if not isinstance(chosen, FileSamples) or not isinstance(evaluated, FileSamples):
        return None
    contents = {evaluated.contents[index] for index in against}
    return sum(chosen.contents[index] in contents for index in used)
