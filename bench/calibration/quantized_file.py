"""A file that another tool quantized, in place of a calibrator: it contains all decisions."""

from __future__ import annotations

from dataclasses import dataclass

from bench.calibration.statistics import Snapshot
from bench.calibration.tool_file import ToolFile
from bench.errors import ConfigError


@dataclass(frozen=True)
class QuantizedFile(ToolFile):
    """A quantized ONNX file. Its Q/DQ, scales and integer weights are taken as they are; plan,
    placement, scheme and scales of weights are the file's."""

    def amax(self, snapshot: Snapshot) -> float:
        """Raises ConfigError: the file has its ranges, whatever the statistics say."""
        raise ConfigError(
            f"{self.path} is already quantized and has no rule for a range",
            "Drop calibrator=quantized_file here",
        )
