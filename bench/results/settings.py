"""The settings of a sweep's answer: stored beside its rows, so that all readers agree."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import ConfigError, DataError
from bench.results.checksums import read_listed, write_listed
from bench.results.folder import SweepFolder

LEAST_MARGIN = 0.005
MARGIN_SHARE = 0.01


@dataclass(frozen=True)
class Settings:
    """``margin`` (in the metric): configurations whose difference is proven to lie within it tie;
    None: half a point or one per cent of FP32, whichever is larger. ``max_loss``: the largest
    allowed loss, as a share of FP32; None for no limit.

    Raises ConfigError for values out of range.
    """

    margin: float | None = None
    max_loss: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("report.margin", self.margin), ("max_loss", self.max_loss)):
            if value is not None and not 0 < value < 1:
                raise ConfigError(
                    f"{name}={value:g} is out of range", "Use a share above 0 and below 1, or null"
                )

    def margin_of(self, fp32: float) -> float:
        """The margin in the metric, where FP32 reaches ``fp32``."""
        return max(LEAST_MARGIN, MARGIN_SHARE * fp32) if self.margin is None else self.margin


def read_share(option: str, text: object) -> float | None:
    """A share such as ``1%``, ``1 %`` or ``0.01``; None for null. ConfigError for anything else.

    >>> read_share("max_loss", "1%"), read_share("max_loss", 0.02)
    (0.01, 0.02)
    """
    if text is None or str(text).strip().lower() in ("", "null", "none"):
        return None
    share = str(text).strip()
    try:
        return float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    except ValueError as error:
        raise ConfigError(
            f"{option}={share} is not a share", "Write 1% or 0.01, or null for none"
        ) from error


def write_settings(folder: Path, settings: Settings) -> None:
    write_listed(SweepFolder(folder).settings, json.dumps(asdict(settings)).encode())


def read_settings(folder: Path) -> Settings:
    """The settings of the folder's sweep, or the default if it has none; DataError for another kind
    of file."""
    path = SweepFolder(folder).settings
    if not path.is_file():
        return Settings()
    try:
        content = json.loads(read_listed(path, "Delete it"))
        return Settings(**{name: read_share(name, content[name]) for name in content})
    except (ValueError, TypeError, AttributeError, RecursionError, ConfigError) as error:
        raise DataError(
            f"{path} does not hold the settings of a sweep's answer ({error})", "Delete it"
        ) from error
