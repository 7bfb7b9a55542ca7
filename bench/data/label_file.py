"""A file that says which class each image of a folder is of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data.dataset import require_classes
from bench.data.files import exists, list_images, read_text, require_images
from bench.data.named import Names
from bench.errors import ConfigError, DataError


@dataclass(frozen=True)
class LabelFile:
    """Image names, in the file's order, with their class indices below ``n_classes``."""

    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    n_classes: int


def read_label_file(path: Path, folder: Path, n_classes: int | None) -> LabelFile:
    """Read lines of an image's name and its class, parted by a comma or by blanks.

    The first line may be a head (``file,label``). So ``labels.csv`` of many exports is written, and
    ``val.txt`` of ImageNet (``ILSVRC2012_val_00000001.JPEG 65``). An image may lie deeper in
    ``folder`` than the file says. Raises DataError for a line that is none, an image that is not
    there, a class out of range; ConfigError if it is not said how many classes there are.
    """
    labels: dict[str, int] = {}
    for number, name, word in _fields(path):
        if number == 1 and _is_head(name, word):
            continue
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", word):
            raise DataError(
                f"{path}, line {number}: '{word}' is not a class index",
                "Write an image's name and its class, counted from 0, on each line",
            )
        place = os.path.normpath(name)  # ./a.png is a.png
        if place in labels:
            raise DataError(f"{path}, line {number}: {name} is labelled twice", "Drop one line")
        labels[place] = int(word)
    if not labels:
        raise DataError(f"{path} labels no images", "Check dataset.labels")
    names = _locate(tuple(labels), folder, path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} labels {twice} twice, under two names", "Drop one of its lines")
    low, high = min(labels.values()), max(labels.values())
    if n_classes is None:
        raise ConfigError(
            f"{path} has classes {low} to {high} but not the number of classes",
            f"Add dataset.classes={'1000' if high < 1000 else high + 1}, or the model's "
            "number of classes",
        )
    require_classes(n_classes, f"dataset.classes={n_classes}")
    if low < 0 or high >= n_classes:
        first = next(name for name, label in labels.items() if not 0 <= label < n_classes)
        raise DataError(
            f"{path}: {first} is of class {labels[first]}, which is not in 0 to {n_classes - 1}",
            "Check dataset.classes, and that classes count from 0",
        )
    return LabelFile(names, np.array(list(labels.values()), np.int64), n_classes)


def _locate(names: tuple[str, ...], folder: Path, path: Path) -> tuple[str, ...]:
    """The paths of the images under ``folder``, which may sort them into further folders."""
    if all(exists(folder / name) for name in names):
        return names
    there = list_images(folder, "dataset.root").names
    known = Names(there)
    found = [known.find(name) for name in names]
    one = tuple(
        there[own[0]] if len(own) == 1 else name for own, name in zip(found, names, strict=True)
    )
    require_images([folder / name for name in one], path, "dataset.labels and dataset.root")
    return one


def _is_head(name: str, word: str) -> bool:
    """Whether a first line names its columns: words of letters, as no image and no class are."""
    return all(re.fullmatch(r"[^\W\d]+(?:[ -]?[^\W\d]+)*", text) for text in (name, word))


def _fields(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, image name and class of each line that is not blank."""
    for number, line in enumerate(read_text(path, "label file", "dataset.labels").splitlines(), 1):
        if not line.strip():
            continue
        words = line.rsplit("," if "," in line else None, 1)
        if len(words) < 2:
            raise DataError(
                f"{path}, line {number}: '{line.strip()}' is not an image with its class",
                "Write 'name,class' or 'name class' on each line",
            )
        yield number, words[0].strip().strip('"'), words[1].strip().strip('"')
