"""A calibrator that a search will choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from bench.calibration.statistics import Snapshot
from bench.errors import ConfigError


@dataclass(frozen=True)
class AutoCalibrator:
    """``plan=auto`` searches the best of ``choices`` together with the plan.

    A choice is what would be typed in place of calibrator=auto: "calibrator=minmax", or
    "calibrator=entropy2 input_range=declared". Raises ConfigError without any.
    """

    choices: tuple[str, ...] = ()
    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        if not self.choices:
            raise ConfigError("calibrator=auto has no choices", "List some in calibrator.choices")

    @property
    def params(self) -> str:
        return f"choices={', '.join(self.choices)}"

    def amax(self, snapshot: Snapshot) -> NoReturn:
        raise ConfigError(
            "calibrator=auto leaves the choice to a search", "Add plan=auto, or choose a calibrator"
        )
