"""Options in one cell of the table: ``calibration_domain=day, calibration_outlier=true``.

Only options that differ from the default are listed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

DATASET = "dataset."
"""Prefix of a dataset's option, in a claim and on the command line."""


def read_options(cell: str) -> dict[str, str]:
    """Option -> value.

    >>> read_options("images=a, b, calibration_outlier=true")
    {'images': 'a, b', 'calibration_outlier': 'true'}
    """
    options: dict[str, str] = {}
    name = ""
    for part in cell.split(", ") if cell else []:
        before, equals, value = part.partition("=")
        if equals:
            name = before
            options[name] = value
        elif name:  # the value contains a comma
            options[name] += f", {part}"
    return options


def write_options(options: Mapping[str, str]) -> str:
    """The cell of these options."""
    return ", ".join(f"{name}={value}" for name, value in options.items())


def typed_dataset_options(overrides: str) -> str:
    """The cell of the dataset's typed options; null is the default, and the name has a separate
    column."""
    try:
        words = shlex.split(overrides)
    except ValueError:  # unbalanced quotes
        return ""
    pairs = (word.lstrip("+").partition("=") for word in words)
    return write_options(
        {
            name.removeprefix(DATASET): value
            for name, _, value in pairs
            if name.startswith(DATASET) and name != f"{DATASET}name" and value != "null"
        }
    )
