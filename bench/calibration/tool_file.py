"""A file that another tool wrote, in place of a calibrator: where it is, and its name in tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench.cache import hash_file
from bench.errors import ConfigError


@dataclass(frozen=True)
class ToolFile:
    """The file at ``path``, called ``label`` in tables (the file's name if empty).

    Raises ConfigError for a file that is not there, and for a label with other characters than
    letters, digits and ``_ . + -``.
    """

    path: str
    label: str = ""
    sha256: str = field(init=False, default="")
    from_file: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise ConfigError(f"calibrator.path={self.path} is not a file", "Check the path")
        if self.label and not re.fullmatch(r"[\w.+-]{1,60}", self.label):
            raise ConfigError(
                f"calibrator.label={self.label} cannot be a name in a table",
                "Use letters, digits and _ . + - only",
            )
        object.__setattr__(self, "sha256", hash_file(Path(self.path)))

    @property
    def name(self) -> str:
        return self.label or re.sub(r"[^\w.+-]+", "_", Path(self.path).stem)[:60] or "file"

    @property
    def params(self) -> str:
        return f"file={self.sha256[:12]}"
