"""User errors, reported in one line.

``BenchError`` is the root: its message says what was wrong, where, and how to fix it. ``__main__``
prints it as one line and exits with status 2. Any other exception is a bug of this program and
keeps its traceback.

* ``ConfigError``  a value or a combination on the command line or in a YAML file
* ``ModelError``   an ONNX file that is missing, broken, already quantized, or does not fit its head
* ``DataError``    images, labels or annotations that are missing, broken or do not match
* ``DownloadError``  a file that cannot be fetched, or is not the expected one
* ``EngineError``  an engine that cannot build or run what it was given
"""

from __future__ import annotations

_LONGEST = 1000


class BenchError(Exception):
    """A mistake the user can fix; ``str(error)`` is one complete line."""

    def __init__(self, what: str, fix: str = "") -> None:
        what = shortened(" ".join(what.split()))
        super().__init__(" ".join(f"{what}. {fix}".split()) if fix else what)


def shortened(text: str) -> str:
    """Shorten a text that may quote a whole file: both ends are enough."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-200:]}"


class ConfigError(BenchError):
    """A value or combination of values in the configuration."""


class ModelError(BenchError):
    """An ONNX model that cannot be used as requested."""


class DataError(BenchError):
    """Images, labels or annotations that cannot be used as requested."""


class DownloadError(BenchError):
    """A file that cannot be fetched, or is not the expected one."""


class EngineError(BenchError):
    """An engine that cannot build or run what it was given."""
