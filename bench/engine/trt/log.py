"""TensorRT's messages, kept instead of printed."""

from __future__ import annotations

from typing import Any


def make_log(trt: Any) -> Any:
    """A logger whose ``warnings`` and ``errors`` are lists of lines."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.warnings: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            line = " ".join(str(msg).split())
            if severity == trt.ILogger.WARNING:
                self.warnings.append(line)
            elif severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(line)

    return Log()


def reason(log: Any) -> str:
    """The first error, or else the last warning, short enough for a line."""
    lines = log.errors[:1] or log.warnings[-1:]
    return str(lines[0])[:300] if lines else "without a reason"
