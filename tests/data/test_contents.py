"""Remembered hashes: what is unchanged is read once, and what was replaced is always seen."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cache import file_state, hash_file
from bench.data import contents
from bench.data.contents import SETTLED_NS, ContentHashes
from bench.sealed import read_sealed, seal

NAMES = ("a.png", "sub/b.png")


def later() -> int:
    """A clock at which files of now have not changed for long."""
    return time.time_ns() + 2 * SETTLED_NS


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "root"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, so far."""
    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return hash_file(path)

    monkeypatch.setattr(contents, "hash_file", noted)
    return names


@pytest.fixture
def ask(tmp_path: Path, root: Path) -> Callable[..., tuple[str, ...]]:
    """As another run would: with another object, but the same folder."""
    return lambda **options: ContentHashes(tmp_path / "cache", **{"clock": later} | options).of(
        root, NAMES
    )


def test_unchanged_files_are_read_once(ask, read):
    assert ask() == tuple(sha(name.encode()) for name in NAMES) == ask()
    assert sorted(read) == ["a.png", "b.png"]


def test_without_a_folder_nothing_is_remembered(root, read, tmp_path):
    for _ in range(2):
        ContentHashes(clock=later).of(root, NAMES)
    assert len(read) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def replace_in_place(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def replace_by_rename(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [replace_in_place, replace_by_rename])
def test_a_file_of_the_same_size_and_time_is_read_again(change, ask, root, read):
    before, stat = ask(), (root / NAMES[0]).stat()
    time.sleep(0.02)  # longer than the file system's clock ticks
    change(root / NAMES[0])
    os.utime(root / NAMES[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    now = (root / NAMES[0]).stat()
    assert (now.st_size, now.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    after = ask()
    assert after == (sha(b"a.png"[::-1]), before[1])
    assert read.count("a.png") == 2
    assert read.count("b.png") == 1


def test_a_file_of_just_now_is_not_remembered(ask, read):
    """Within a tick of the file system's clock it may change without another time."""
    ask(clock=time.time_ns)
    ask(clock=time.time_ns)
    assert len(read) == 4


def test_a_file_that_changes_while_it_is_read_is_not_remembered(ask, root, monkeypatch, read):
    def slow(path: Path) -> str:
        read.append(path.name)
        own = hash_file(path)
        time.sleep(0.02)
        path.write_bytes(b"other")
        return own

    with monkeypatch.context() as patch:
        patch.setattr(contents, "hash_file", slow)
        ask()
    assert ask() == (sha(b"other"), sha(b"other"))


def memory(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache").glob("hashes-*.json")
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"a.png": 3}',
        b'{"a.png": [1, 2], "sub/b.png": {}}',
    ],
)
def test_damaged_memory_is_read_anew(content, ask, read, tmp_path):
    expected = ask()
    path = memory(tmp_path)
    path.write_bytes(seal(content, path) if content else content)
    assert ask() == expected == ask()
    assert len(read) == 4


def test_a_damaged_memory_is_told(ask, tmp_path, capsys):
    expected, path = ask(), memory(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    assert ask() == expected
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"warning: {path} is damaged (its checksum differs)")


@pytest.mark.parametrize("wrong", [None, 7, "abc"])
def test_a_damaged_hash_is_read_anew(wrong, ask, tmp_path):
    expected = ask()
    path = memory(tmp_path)
    entries = json.loads(read_sealed(path))
    changed = {name: [*own[:4], wrong] for name, own in entries.items()}
    path.write_bytes(seal(json.dumps(changed).encode(), path))
    assert ask() == expected


def test_strict_reads_every_byte_and_puts_the_memory_right(ask, read, tmp_path):
    expected = ask()
    path = memory(tmp_path)
    entries = json.loads(read_sealed(path))
    entries["a.png"][4] = sha(b"tampered with")
    path.write_bytes(seal(json.dumps(entries).encode(), path))
    assert ask() == (sha(b"tampered with"), expected[1])  # believed, unless it is asked strictly
    assert ask(strict=True) == expected
    assert sorted(read) == ["a.png", "a.png", "b.png", "b.png"]
    assert ask() == expected
    assert len(read) == 4


def test_strict_sees_what_no_time_tells(ask, root, monkeypatch):
    """As if a disk had been written to behind the file system's back."""
    states = {root / name: file_state(root / name) for name in NAMES}
    monkeypatch.setattr(contents, "file_state", states.__getitem__)
    before = ask()
    replace_in_place(root / "a.png")
    assert ask() == before
    assert ask(strict=True) == (sha(b"a.png"[::-1]), before[1])


def test_writers_at_once_lose_nothing_but_work(tmp_path, root):
    names = [f"{number}.png" for number in range(24)]
    for name in names:
        (root / name).write_bytes(name.encode())
    together, found = threading.Barrier(4), {}

    def work(own: int) -> None:
        together.wait()
        chosen = names[own::4]
        found[own] = ContentHashes(tmp_path / "cache", clock=later).of(root, chosen)
        assert found[own] == tuple(sha(name.encode()) for name in chosen)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    entries = json.loads(read_sealed(memory(tmp_path)))
    assert all(own[4] == sha(name.encode()) for name, own in entries.items())
    assert ContentHashes(tmp_path / "cache").of(root, names) == tuple(
        sha(name.encode()) for name in names
    )


def test_two_folders_have_a_memory_each(tmp_path, root):
    hashes = ContentHashes(tmp_path / "cache", clock=later)
    assert hashes.of(root, NAMES)[1:] == hashes.of(root / "sub", ["b.png"])
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_missing_file_is_named(tmp_path, root):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        ContentHashes(tmp_path / "cache").of(root, ["gone.png"])
