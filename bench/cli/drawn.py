"""Whether a sweep's report is that of its table: then a finished sweep need not draw it again."""

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


class Drawn:
    """What the report under ``folder`` was drawn from, and what it would be drawn from now."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = SweepFolder(folder), settings

    @property
    def current(self) -> bool:
        """Whether page and claims are there as they were written, of this table and code."""
        try:
            noted = self._folder.drawn.read_text()
            return noted == f"{self._source} {self._pages()}\n"
        except OSError:
            return False

    def note(self) -> None:
        """The report has just been drawn."""
        with suppress(OSError):  # then it is drawn again next time
            write_atomically(self._folder.drawn, f"{self._source} {self._pages()}\n".encode())

    @cached_property
    def _source(self) -> str:
        """Files of a run have its key in their name, and do not change."""
        judged = [path for part in ("claim", "reference") for path in (CONF / part).glob("*.yaml")]
        roundings = self._folder.roundings.glob("*.json")
        files = [self._folder.table_csv, *sorted(judged), *sorted(roundings)]
        return content_key(
            _CODE, environment.versions("numpy", "pandas", "matplotlib"), self._settings,
            *map(hash_file, files),
        )  # fmt: skip

    def _pages(self) -> str:
        folder = self._folder
        pages = (folder.report_html, folder.report_markdown, folder.claims)
        return content_key(*map(hash_file, pages))
