"""The name of another tool's file in tables."""

from __future__ import annotations

import re
from pathlib import Path

from bench.errors import ConfigError


def label_of(label: str, path: str) -> str:
    """``label``, or the file's name without its ending where that is empty.

    Raises ConfigError for a label with other characters than letters, digits and ``_ . + -``.
    """
    if label and not re.fullmatch(r"[\w.+-]{1,60}", label):
        raise ConfigError(
            f"calibrator.label={label} cannot be a name in a table",
            "Use letters, digits and _ . + - only",
        )
    return label or re.sub(r"[^\w.+-]+", "_", Path(path).stem)[:60] or "file"
