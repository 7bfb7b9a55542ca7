"""Public datasets, fetched into a folder as ``conf/data`` says.

A set is made of archives, of which one file or folder each is taken, of single images that a list
names, and of small files written beside them. What is there is not fetched again. Archives go to
``downloads/`` and may be put there by hand, or deleted when all is done.

Where a publisher names no hash, the first fetch is trusted: its SHA-256 is kept in the set's
``SHA256SUMS`` (as ``sha256sum`` writes it), and a later fetch must match it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from bench.cache import hash_file, only_one, write_atomically
from bench.data.calibration_order import read_image_list
from bench.data.unpack import take_out
from bench.download import Download, Patience, fetch
from bench.errors import ConfigError, DataError

SUMS = "SHA256SUMS"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Archive:
    """A zip file, and the one file or folder to ``take`` out of it."""

    url: str
    take: str
    sha256: str | None = None
    size: int | None = None

    @property
    def download(self) -> Download:
        return Download(self.url, self.sha256, self.size)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Images:
    """Single images: ``list`` is the address of their names, one a line, ``url`` of the folder."""

    list: str
    list_size: int
    url: str
    folder: str


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PublicData:
    """One file of ``conf/data``.

    ``use`` is what to type next: ``{here}`` is the set's folder, ``{data}`` the one of all sets.
    """

    licence: str
    use: str
    archives: list[Archive] = field(default_factory=list)
    images: Images | None = None
    files: dict[str, str] = field(default_factory=dict)


def known_data(conf: Path) -> list[str]:
    """The names of the sets under ``conf``."""
    return sorted(path.stem for path in conf.glob("*.yaml"))


def read_data(name: str, conf: Path) -> PublicData:
    """Raises ConfigError for a name that is unknown, and for a file that is not as it should be."""
    if name not in known_data(conf):
        raise ConfigError(
            f"there is no dataset '{name}' to fetch",
            f"Use {', '.join(known_data(conf))}; dataset=shapes is drawn and needs none",
        )
    path = conf / f"{name}.yaml"
    try:
        return TypeAdapter(PublicData).validate_python(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path} is not a valid data file ({error})", "Fix its YAML") from error


def fetch_data(name: str, data: PublicData, root: Path, patience: Patience | None = None) -> str:
    """Make the set complete under ``root``; returns the command that uses it.

    Tells the licence on stderr before anything is fetched, and every hash that was not known
    before. Raises DownloadError or DataError, whose one line names what to put where instead.
    """
    here = root / name
    with only_one(root / f".{name}.lock"):
        if _missing(data, here):
            _tell(f"{name}: {' '.join(data.licence.split())}")
        for archive in data.archives:
            if not (here / archive.take).exists():
                _fetch_archive(archive, here, root / "downloads", patience)
        if data.images:
            _fetch_images(data.images, here, patience)
        for file, text in data.files.items():
            write_atomically(here / file, text.encode())
    return " ".join(data.use.split()).format(here=here, data=root)


def _missing(data: PublicData, here: Path) -> bool:
    parts = [archive.take for archive in data.archives]
    parts += [data.images.folder] if data.images else []
    return any(not (here / part).exists() for part in parts)


def _fetch_archive(archive: Archive, here: Path, downloads: Path, patience: Any) -> None:
    wanted, sums = archive.download, _Sums(here)
    wanted = replace(wanted, sha256=wanted.sha256 or sums.of(wanted.file_name))
    file = downloads / wanted.file_name
    if not file.is_file():
        fetch(wanted, file, f"Put {file.name} at {file}, {_OR_ELSE}", patience)
    elif misfit := wanted.misfit(file):
        raise DataError(f"{file} has {misfit}", "Delete it; it is then fetched again")
    take_out(file, archive.take, here / archive.take)
    if archive.sha256 is None:
        _tell(sums.keep(file, file.name))


def _fetch_images(images: Images, here: Path, patience: Any) -> None:
    listed, sums, folder = here / "images.txt", _Sums(here), here / images.folder
    if not listed.is_file():
        fix = f"Put it at {listed}, {_OR_ELSE}"
        fetch(Download(images.list, size=images.list_size), listed, fix, patience)
    names = read_image_list(listed).entries
    if odd := next((name for name in names if Path(name).name != name), ""):
        raise DataError(f"{listed} has '{odd}', which is not a plain file name", "Delete it")
    absent = [name for name in names if not (folder / name).is_file()]
    for number, name in enumerate(absent, start=1):
        fix = f"Put the {len(names)} images of {listed} into {folder}, {_OR_ELSE}"
        wanted = Download(f"{images.url}/{name}", sums.of(f"{images.folder}/{name}"))
        fetch(wanted, folder / name, fix, patience)
        sums.keep(folder / name, f"{images.folder}/{name}")
        if number % 100 == 0 or number == len(absent):
            _tell(f"{number} of {len(absent)} images fetched; their SHA-256 are in {sums.path}")


_OR_ELSE = "or use dataset=shapes, which is drawn and needs no file"


class _Sums:
    """The hashes of a first fetch."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / SUMS
        self._known = dict(self._read())

    def of(self, name: str) -> str | None:
        return self._known.get(name)

    def keep(self, file: Path, name: str) -> str:
        """Add the file's, and say so."""
        self._known[name] = hash_file(file)
        lines = [f"{sha256}  {own}\n" for own, sha256 in sorted(self._known.items())]
        write_atomically(self.path, "".join(lines).encode())
        return f"{name}: no SHA-256 was known; it has {self._known[name]}, stored in {self.path}"

    def _read(self) -> Iterator[tuple[str, str]]:
        if self.path.is_file():
            for line in self.path.read_text().splitlines():
                sha256, _, name = line.partition("  ")
                yield name, sha256


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
