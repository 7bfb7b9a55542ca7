"""A serialized engine that somebody built, in place of a calibrator: it contains all decisions."""

from __future__ import annotations

from dataclasses import dataclass

from bench.calibration.statistics import Snapshot
from bench.calibration.tool_file import ToolFile
from bench.errors import ConfigError


@dataclass(frozen=True)
class EngineFile(ToolFile):
    """A serialized engine of TensorRT: no ranges can be read from it.

    To load an engine is to run a program. So ``conf/`` has no choice for this class: only ``judge``
    makes one, of a file that the user names, and the words of a row cannot.
    """

    def amax(self, snapshot: Snapshot) -> float:
        """Raises ConfigError: the engine does not say which ranges it was built with."""
        raise ConfigError(
            f"{self.path} is a serialized engine and has no rule for a range",
            "Give the file that it was built from",
        )
