"""Checksums: what was written comes back, and any damage is seen."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path

import numpy as np
import pytest

from bench.sealed import (
    DamagedError,
    from_sealed_json,
    read_sealed,
    seal,
    sealed,
    to_sealed_json,
    unseal,
)

PATH = Path("some/file")
CONTENT = {"row": {"a": 1, "b": [1.5, None], "c": {}}, "raw": {"int8_ns": [1, 2]}}


def flips(content: bytes, count: int = 200) -> list[bytes]:
    """Copies with one bit changed, at random places."""
    rng = random.Random(0)
    found = []
    for _ in range(count):
        at = rng.randrange(len(content))
        found.append(
            content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        )
    return found


@pytest.mark.parametrize("content", [b"", b"a", b"\n", bytes(range(256)) * 9000])
def test_what_was_sealed_comes_back(tmp_path, content):
    path = tmp_path / "file"
    assert unseal(seal(content, path), path) == content
    with path.open("w+b") as file:
        sealed(path, lambda own: own.write(content))(file)
    assert path.read_bytes() == seal(content, path)
    assert read_sealed(path) == content


def test_no_damage_of_a_sealed_file_is_overlooked():
    whole = seal(b"some content of a file", PATH)
    damaged = [
        *flips(whole),
        *(whole[:end] for end in range(len(whole))),
        whole + b"\0",
        b"other",
        seal(b"some content of a file", Path("other")),
    ]
    for content in damaged:
        with pytest.raises(DamagedError, match="some/file is damaged"):
            unseal(content, PATH)


def test_others_can_read_a_sealed_archive(tmp_path):
    path = tmp_path / "file.npz"
    with path.open("w+b") as file:
        sealed(path, lambda own: np.savez_compressed(own, a=np.arange(3)))(file)
    for source in (path, io.BytesIO(read_sealed(path))):
        with np.load(source) as arrays:
            assert arrays["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("options", [{}, {"indent": 1}])
def test_json_stays_json(options):
    text = to_sealed_json(CONTENT, **options)
    assert json.loads(text) == {**CONTENT, "sha256": json.loads(text)["sha256"]}
    assert from_sealed_json(text, PATH) == CONTENT


def test_json_from_before_there_were_checksums_is_read():
    assert from_sealed_json(json.dumps(CONTENT, indent=1).encode(), PATH) == CONTENT


def test_no_damage_of_sealed_json_changes_what_is_read():
    whole = to_sealed_json(CONTENT, indent=1)
    for content in flips(whole):
        with contextlib.suppress(DamagedError):
            read = from_sealed_json(content, PATH)
            assert {name: read[name] for name in CONTENT} == CONTENT  # "sha256" itself was hit


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"[" * 200_000, b"\xff{}"])
def test_what_is_no_json_object_is_told_in_one_line(content):
    with pytest.raises(DamagedError, match=r"\Asome/file is damaged \(no[^\n]*\Z"):
        from_sealed_json(content, PATH)


def test_cut_or_edited_json_is_told():
    whole = to_sealed_json(CONTENT, indent=1)
    for content in [*(whole[:end] for end in range(len(whole) - 2)), whole.replace(b"1.5", b"2.5")]:
        with pytest.raises(DamagedError):
            from_sealed_json(content, PATH)
