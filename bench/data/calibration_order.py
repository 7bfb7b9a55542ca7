"""Which calibration images come first: sets of every size are prefixes of one order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench.data.files import read_text
from bench.data.named import Names
from bench.errors import DataError

Strategy = Literal["random", "balanced"]
Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ImageList:
    """The lines of a file that names the calibration images, in order."""

    file: str = field(repr=False)  # where it lies changes nothing
    entries: tuple[str, ...]


def read_image_list(path: Path) -> ImageList:
    """One image a line; ``#`` begins a comment, blank lines are nothing.

    So MLPerf lists the calibration images of ImageNet and COCO. Raises DataError for a file that is
    missing or lists nothing.
    """
    lines = read_text(path, "calibration list", "calibration.list").splitlines()
    entries = tuple(line.strip() for line in lines if line.strip() and line.lstrip()[0] != "#")
    if not entries:
        raise DataError(f"calibration list {path} names no images", "Check calibration.list")
    return ImageList(str(path), entries)


def calibration_order(
    names: Sequence[str],
    strategy: Strategy,
    seed: int,
    listed: ImageList | None,
    classes: Callable[[], Sequence[Collection[int]]],
) -> Order:
    """Indices into ``names``: a calibration set of size n is made of the first n.

    ``listed`` gives both the images and their order, without a seed. Otherwise all images stand in
    a shuffle: ``random``, or ``balanced`` over the ``classes``, which are asked for only then.
    """
    if listed is not None:
        return _find_all(listed, names)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    return order if strategy == "random" else _balance(order, classes(), rng)


def _balance(order: Order, classes: Sequence[Collection[int]], rng: np.random.Generator) -> Order:
    """Take one image of each class in turn, those of a class as shuffled, until none is left.

    An image of several classes counts for the one that the fewest images show (the lower index of
    equals); images without any object are a class of their own.
    """
    shown = Counter(label for own in classes for label in set(own))
    of_class: dict[int, list[int]] = defaultdict(list)
    for index in order.tolist():
        rarest = min(classes[index], key=lambda label: (shown[label], label), default=-1)
        of_class[rarest].append(index)
    place = {label: i for i, label in enumerate(rng.permutation(sorted(of_class)).tolist())}
    turns = sorted(
        (turn, place[label], index)
        for label, own in of_class.items()
        for turn, index in enumerate(own)
    )
    return np.array([index for _, _, index in turns], np.int64)


def _find_all(listed: ImageList, names: Sequence[str]) -> Order:
    known = Names(names)
    found: dict[int, str] = {}
    absent = []
    for entry in listed.entries:
        # What stands behind the name may be a label; but names may have blanks in them.
        candidates = known.find(entry) or known.find(entry.rsplit(None, 1)[0])
        if not candidates:
            absent.append(entry)
        elif len(candidates) > 1:
            first, second = (names[index] for index in candidates[:2])
            raise DataError(
                f"'{entry}' in {listed.file} matches {first} and {second}", "Write more of its path"
            )
        elif candidates[0] in found:
            raise DataError(
                f"{listed.file} lists {names[candidates[0]]} twice", "Drop one of the lines"
            )
        else:
            found[candidates[0]] = entry
    if absent:
        raise DataError(
            f"{len(absent)} of the {len(listed.entries)} images in {listed.file} are not among the "
            f"dataset's calibration images (first: {absent[0]})",
            "Check that list and dataset belong together",
        )
    return np.array(list(found), np.int64)
