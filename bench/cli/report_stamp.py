"""Whether a sweep's report matches its table: then a finished sweep need not write it again."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from bench import environment
from bench.cache import content_key, hash_file, source_key, write_atomically
from bench.environment import CONF
from bench.results.folder import SweepFolder
from bench.results.settings import Settings

_CODE = source_key("bench.report", "bench.claims", "bench.results", "bench.evaluation")


class ReportStamp:
    """Records what the report under ``folder`` was made from: table, settings and code."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = SweepFolder(folder), settings

    @property
    def matches(self) -> bool:
        """Whether page and claims exist unchanged, and were made from this table and code."""
        try:
            return self._folder.report_stamp.read_text() == self._text()
        except OSError:
            return False

    def write(self) -> None:
        """Stamp the report that has just been written."""
        with suppress(OSError):  # then it is written again next time
            write_atomically(self._folder.report_stamp, self._text().encode())

    @cached_property
    def _source(self) -> str:
        """The files of a run contain its key in their name and do not change."""
        yaml = [path for part in ("claim", "reference") for path in (CONF / part).glob("*.yaml")]
        roundings = self._folder.roundings.glob("*.json")
        files = [self._folder.table_csv, *sorted(yaml), *sorted(roundings)]
        return content_key(
            _CODE, environment.versions("numpy", "pandas", "matplotlib"), self._settings,
            *map(hash_file, files),
        )  # fmt: skip

    def _text(self) -> str:
        folder = self._folder
        pages = (folder.report_html, folder.report_markdown, folder.claims)
        return f"{self._source} {content_key(*map(hash_file, pages))}\n"
