"""What a user did wrong, told in one line.

``BenchError`` is the root: its message says what was wrong, where, and how to mend it. ``__main__``
prints it as one line and exits with status 2. Anything else that escapes is a defect of ours and
keeps its traceback.

* ``ConfigError``  a value or a combination on the command line or in a YAML file
* ``ModelError``   an ONNX file that is missing, broken, already quantized, or does not fit its head
* ``DataError``    images, labels or annotations that are missing, broken or do not match
* ``DownloadError``  a file that cannot be fetched, or is not the one that was meant
* ``EngineError``  an engine that cannot build or run what it was given
"""

from __future__ import annotations

_LONGEST = 1000


class BenchError(Exception):
    """A mistake the user can mend; ``str(error)`` is one complete line."""

    def __init__(self, what: str, fix: str = "") -> None:
        what = shortened(" ".join(what.split()))
        super().__init__(" ".join(f"{what}. {fix}".split()) if fix else what)


def shortened(text: str) -> str:
    """A text that quotes a file may hold all of it: both ends tell enough."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-200:]}"


class ConfigError(BenchError):
    """A value or combination of values in the configuration."""


class ModelError(BenchError):
    """An ONNX model that cannot be used as asked."""


class DataError(BenchError):
    """Images, labels or annotations that cannot be used as asked."""


class DownloadError(BenchError):
    """A file that cannot be fetched, or is not the one that was meant."""


class EngineError(BenchError):
    """An engine that cannot build or run what it was given."""
