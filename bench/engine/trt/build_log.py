"""What TensorRT, and TensorRT for RTX, have to say, kept instead of printed."""

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
    """Our part of a logger; TensorRT's own class, known when it is imported, joins it."""

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

    A process has one for each library: as long as a builder or runtime lives, TensorRT tells the
    first one's logger what it has to say to any other's (NVIDIA/TensorRT issue 1475), and that
    logger must not be gone by then.
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
    """How many tensors the builder misses a range of: it leaves the layers beside them in float."""
    return len({found[1] for line in log.warnings if (found := _MISSING_SCALE.search(line))})


def reason(log: Log) -> str:
    """The first error, or else the last warning, short enough for a line."""
    lines = log.errors[:1] or log.warnings[-1:]
    return short(lines[0]) if lines else "without a reason"


def short(text: str) -> str:
    """On one line, and of a line's length."""
    return " ".join(text.split())[:300]
