"""Fetching a file: checked, resumed, whole or not at all.

``requests`` with urllib3's ``Retry`` brings connections, redirects, proxies, and waiting and asking
again after refused connections and 5xx answers. Neither goes on with a body that broke off, and
none of the libraries made for files does with a check and a validator (pooch 1.8 starts over), so
that loop is here: RFC 9110's Range with If-Range, which a server answers with the rest (206) if the
file is still the same, and else with all of it (200).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from urllib3.util import Retry

from bench.cache import content_key, hash_file
from bench.errors import ConfigError, DownloadError

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Download:
    """A file on a server; the SHA-256 and the bytes that it must have, where they are known."""

    url: str
    sha256: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if not _is_safe(self.url):
            raise ConfigError(
                f"download.url={self.url} is not an https address", "Give an address with https://"
            )
        if self.sha256 is not None and (
            len(self.sha256) != 64 or set(self.sha256.lower()) - set("0123456789abcdef")
        ):
            raise ConfigError(
                f"download.sha256={self.sha256} is not a SHA-256", "Give its 64 hexadecimal digits"
            )

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits that distinguish this file from others of its name."""
        return (self.sha256 or content_key(self.url)).lower()[:12]

    def misfit(self, path: Path) -> str:
        """How ``path`` differs from this file, in words; "" if it can be this file."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"{size:,} bytes, not {self.size:,}"
        digest = hash_file(path) if self.sha256 else ""
        if self.sha256 and digest != self.sha256.lower():
            return f"SHA-256 {digest[:12]}..., not {self.sha256[:12]}..."
        return ""


def _is_safe(url: str) -> bool:
    """https, or this machine itself, where nobody can listen in between."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        )
    except ValueError:
        return False


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server: seconds, and the number of attempts."""

    connect: float = 10.0
    read: float = 30.0
    attempts: int = 4
    pause: float = 0.5
    """Doubled from one attempt to the next."""


class _BrokenOffError(Exception):
    """The body ended too early: the received part is kept, and the next attempt continues."""


class _AnotherFileError(Exception):
    """The server announces another length than the file has: it is not downloaded."""


def fetch(file: Download, target: Path, fix: str, patience: Patience | None = None) -> None:
    """Download the file to ``target``. Raises DownloadError, whose line ends with ``fix``.

    ``TARGET.part`` grows beside it and stays when the connection is lost, so that the next call
    continues; a file with another hash or length is deleted.
    """
    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _session(patience, file.url) as session, _progress() as progress:
        task = progress.add_task(target.name, total=None)
        for attempt in range(patience.attempts):
            if attempt:
                time.sleep(patience.pause * 2**attempt)
            try:
                _go_on(session, file, part, patience, progress, task)
                break
            except _AnotherFileError as error:
                _forget(part)
                raise DownloadError(f"{file.url} is another file now ({error})", fix) from error
            except requests.RequestException as error:
                raise DownloadError(_reason(error, file.url), fix) from error
            except _BrokenOffError as error:
                lost = error
        else:
            raise DownloadError(
                f"{file.url} could not be fetched whole ({lost}{_kept(part)})", fix
            ) from lost
    if misfit := file.misfit(part):
        _forget(part)
        raise DownloadError(f"{file.url} gave a file with {misfit}; it was deleted", fix)
    part.replace(target)
    _validator(part).unlink(missing_ok=True)


def _go_on(
    session: requests.Session,
    file: Download,
    part: Path,
    patience: Patience,
    progress: Progress,
    task: TaskID,
) -> None:
    """One request for what is still missing."""
    headers = {"Accept-Encoding": "identity"}  # bytes as they are: they are counted
    have = part.stat().st_size if part.exists() else 0
    known = _validator(part).read_text() if _validator(part).exists() else ""
    if have and known:
        headers |= {"Range": f"bytes={have}-", "If-Range": known}
    timeout = (patience.connect, patience.read)
    with session.get(file.url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == 416:  # nothing is missing, or it is not the beginning of this file
            whole = answer.headers.get("Content-Range") == f"bytes */{have}" or file.sha256
            if have and whole and not file.misfit(part):
                return
            _forget(part)
            raise _BrokenOffError("the partial file did not match")
        answer.raise_for_status()
        goes_on = answer.status_code == 206
        if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _forget(part)
            raise _BrokenOffError("the server sent another part than requested")
        if not goes_on:
            have = 0
            _remember_version(part, answer)
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        if file.size is not None and total not in (None, file.size):
            raise _AnotherFileError(f"{total:,} bytes, not {file.size:,}")
        progress.update(task, total=total, completed=have)
        with part.open("ab" if goes_on else "wb") as out:
            _copy(answer, out, progress, task)


def _copy(answer: requests.Response, out: BinaryIO, progress: Progress, task: TaskID) -> None:
    try:
        for block in answer.iter_content(_BLOCK):
            out.write(block)
            progress.advance(task, len(block))
    except requests.exceptions.ChunkedEncodingError as error:  # fewer bytes than Content-Length
        raise _BrokenOffError("the connection was lost") from error
    except requests.ConnectionError as error:  # what requests makes of a read that times out
        raise _BrokenOffError("the server stopped responding") from error


def _remember_version(part: Path, answer: requests.Response) -> None:
    """Keep what names this version of the file; a weak ETag names none byte by byte (RFC 9110)."""
    tag = answer.headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
    _validator(part).write_text(version)


def _validator(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


def _session(patience: Patience, url: str) -> requests.Session:
    session = requests.Session()
    session.adapters.clear()  # a redirect leads to no other scheme
    retry = Retry(
        total=patience.attempts - 1,
        backoff_factor=patience.pause,
        status_forcelist=(429, 500, 502, 503, 504),
        respect_retry_after_header=False,  # it may ask for hours
        raise_on_status=False,  # the last answer comes through, and names its status
    )
    session.mount(f"{urlsplit(url).scheme}://", HTTPAdapter(max_retries=retry))
    return session


def _reason(error: requests.RequestException, url: str) -> str:
    """The reason why ``Retry`` gave up."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{url} cannot be fetched (the server answers {error.response.status_code})"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return f"{url} leads to an address that is not {urlsplit(url).scheme}"
    if isinstance(error, requests.Timeout):
        return f"{url} cannot be reached (no answer in time)"
    return f"{url} cannot be reached (is this machine offline?)"


def _kept(part: Path) -> str:
    known = _validator(part).exists() and _validator(part).read_text()
    if not known or not part.exists():
        return ""
    return f"; {part.stat().st_size / 1e6:.1f} MB are kept; run the same command to continue"


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # it would leave a blank line a file in a log
    )
