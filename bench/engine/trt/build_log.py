"""Messages of TensorRT and TensorRT for RTX, stored instead of printed."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorrt_api import ILogger, TensorRT
else:
    ILogger = object

_LOG = logging.getLogger(__name__)
_MISSING_SCALE = re.compile(r"Missing scale and zero-point for tensor (.+?), expect")


class Log(ILogger):
    """Our part of a logger; TensorRT's class is added as a base when TensorRT is imported."""

    def __init__(self, trt: TensorRT) -> None:
        self._trt = trt
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        line, kinds = " ".join(msg.split()), self._trt.ILogger
        if severity == kinds.WARNING:
            self.warnings.append(line)
            _LOG.warning("TensorRT: %s", line)
        elif severity in (kinds.ERROR, kinds.INTERNAL_ERROR):
            self.errors.append(line)
            _LOG.error("TensorRT: %s", line)


def open_log(trt: TensorRT) -> Log:
    """The logger, emptied; its ``warnings`` and ``errors`` are lists of lines.

    A process has one for each library: while a builder or runtime exists, TensorRT sends all
    messages to the first logger (NVIDIA/TensorRT issue 1475), and that logger must still exist.
    """
    log = _only_log(trt)
    log.warnings.clear()
    log.errors.clear()
    return log


@lru_cache
def _only_log(trt: TensorRT) -> Log:
    class OfTensorRt(Log, trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            Log.__init__(self, trt)

    return OfTensorRt()


def missing_scales(log: Log) -> int:
    """How many tensors have no range: the builder leaves the layers beside them in float."""
    return len({match[1] for line in log.warnings if (match := _MISSING_SCALE.search(line))})


def reason(log: Log) -> str:
    """The first error, or else the last warning, short enough for a line."""
    lines = log.errors[:1] or log.warnings[-1:]
    return short(lines[0]) if lines else "without a reason"


def short(text: str) -> str:
    """The text on one line, cut to a line's length."""
    return " ".join(text.split())[:300]
