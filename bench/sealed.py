"""Content with its checksum, so that a damaged file is detected when it is read.

A file that only this program reads ends with a line with the SHA-256 of its name and of all content
before it: the content of another file counts as damaged, too. JSON that others may read has the
SHA-256 of its text in a last member. Neither protects against an attacker.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from bench.errors import DataError
from bench.log import LOG

_LINE = re.compile(rb"\nsha256:([0-9a-f]{64})\n\Z")
_LENGTH = len("\nsha256:") + 64 + 1
_MEMBER = re.compile(rb',\s*"sha256": "([0-9a-f]{64})"\s*\}\s*\Z')


UNREADABLE_ARRAYS = (
    ValueError, KeyError, TypeError, EOFError, OSError, MemoryError, NotImplementedError,
    SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""The exceptions of NumPy for bytes that are not an archive of arrays, or a damaged one."""


class DamagedError(DataError):
    """A file that is not as it was written."""

    def __init__(self, path: Path, reason: str, fix: str = "") -> None:
        super().__init__(f"{path} is damaged ({reason})", fix)
        self.reason = reason


def warn(line: str) -> None:
    """Print a warning on stderr, in one line."""
    line = " ".join(line.split())
    LOG.warning("%s", line)
    print(f"warning: {line}", file=sys.stderr)


def sealed(path: Path, write: Callable[[BinaryIO], object]) -> Callable[[BinaryIO], None]:
    """``write``, followed by the line with the checksum of ``path``'s name and of the content.

    Its file must also be readable.
    """

    def write_and_seal(file: BinaryIO) -> None:
        write(file)
        file.seek(0)
        digest = _digest(path)
        while block := file.read(1 << 20):
            digest.update(block)
        file.write(_line(digest.hexdigest()))

    return write_and_seal


def seal(content: bytes, path: Path) -> bytes:
    """The content of a file, with its line."""
    digest = _digest(path)
    digest.update(content)
    return content + _line(digest.hexdigest())


def unseal(content: bytes, path: Path) -> bytes:
    """The content without its line; raises DamagedError if the checksum does not match."""
    if not is_sealed(content):
        raise DamagedError(path, "its end is missing")
    whole = content[:-_LENGTH]
    if seal(whole, path) != content:
        raise DamagedError(path, "its checksum differs")
    return whole


def is_sealed(content: bytes) -> bool:
    """Whether it ends with such a line."""
    return _LINE.search(content, max(len(content) - _LENGTH, 0)) is not None


def read_sealed(path: Path) -> bytes:
    """Read a file that was written ``sealed``."""
    return unseal(path.read_bytes(), path)


def to_sealed_json(content: Mapping[str, Any], **options: Any) -> bytes:
    """A JSON object with these members, and a last one with the checksum."""
    text = json.dumps(content, **options).encode()[:-1].rstrip()
    digest = hashlib.sha256(text).hexdigest()
    return text + f',\n "sha256": "{digest}"\n}}\n'.encode()


def from_sealed_json(content: bytes, path: Path) -> dict[str, Any]:
    """The members without the checksum; an older file without a checksum is read unchecked.

    Raises DamagedError for content that is not a JSON object, and for another checksum.
    """
    match = _MEMBER.search(content)
    if match and hashlib.sha256(content[: match.start()]).hexdigest().encode() != match[1]:
        raise DamagedError(path, "its checksum differs")
    try:
        members = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"not JSON: {error}") from error
    if not isinstance(members, dict):
        raise DamagedError(path, "not a JSON object")
    members.pop("sha256", None)
    return members


def is_sealed_json(content: bytes) -> bool:
    """Whether it contains its checksum."""
    return _MEMBER.search(content) is not None


def _digest(path: Path) -> hashlib._Hash:
    return hashlib.sha256(path.name.encode() + b"\0")


def _line(digest: str) -> bytes:
    return f"\nsha256:{digest}\n".encode()
