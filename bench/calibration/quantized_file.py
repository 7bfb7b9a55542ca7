"""A file that another tool quantized, in place of a calibrator: it contains all decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bench.cache import hash_file
from bench.calibration.label import label_of
from bench.calibration.statistics import Snapshot
from bench.errors import ConfigError


@dataclass(frozen=True)
class QuantizedFile:
    """The quantized ONNX file at ``path``, called ``label`` in tables (the file's name if empty).

    Its Q/DQ, scales and integer weights are taken as they are; plan, placement, scheme and scales
    of weights are the file's. Raises ConfigError for a file that is not there.
    """

    path: str
    label: str = ""
    sha256: str = field(init=False, default="")
    from_file: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise ConfigError(f"calibrator.path={self.path} is not a file", "Check the path")
        label_of(self.label, self.path)
        object.__setattr__(self, "sha256", hash_file(Path(self.path)))

    @property
    def name(self) -> str:
        return label_of(self.label, self.path)

    @property
    def params(self) -> str:
        return f"file={self.sha256[:12]}"

    def amax(self, snapshot: Snapshot) -> float:
        """Raises ConfigError: the file has its ranges, whatever the statistics say."""
        raise ConfigError(
            f"{self.path} is already quantized and has no rule for a range",
            "Drop calibrator=quantized_file here",
        )
