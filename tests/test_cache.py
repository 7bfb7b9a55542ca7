"""The cache: computed once, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from bench.cache import (
    cached,
    content_key,
    hash_file,
    remove_leftovers,
    write_atomically,
    write_with,
)
from bench.sealed import read_sealed, seal, sealed


def test_content_key():
    assert content_key("a", 1, None) == content_key("a", 1, None)
    different = [("a", "b"), ("ab",), ("b", "a"), ("a", "b", ""), ("a", 1), ("a", 2), ()]
    assert len({content_key(*parts) for parts in different}) == len(different)
    assert content_key("a", "b") == hashlib.sha256(b"a\0b").hexdigest()[:20]


def test_hash_file(tmp_path):
    content = bytes(range(256)) * 5000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


# --- atomic writing -------------------------------------------------------------------------------


def test_write_atomically_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "some" / "where" / "file.txt"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_content(tmp_path, error):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half of the ne")
        raise error

    with pytest.raises(error):
        write_with(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_file_that_it_was_meant_for(tmp_path):
    def write(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        write_with(tmp_path / "file.txt", write)
    assert caught.value.filename == str(tmp_path / "file.txt")
    assert list(tmp_path.iterdir()) == []


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old")
    seen = []

    def write(file: BinaryIO) -> None:
        file.write(b"new")
        file.flush()
        seen.append(path.read_bytes())

    write_with(path, write)
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


# --- what killed writers leave --------------------------------------------------------------------

DIE = """
import os, sys
from pathlib import Path
from bench.cache import write_with

def write(file):
    file.write(b"half")
    print(end="x", flush=True)
    sys.stdin.read()
    os._exit(1)

write_with(Path(sys.argv[1]), write)
"""


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "pixels-1.npy"
    command = [sys.executable, "-c", DIE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.read(1)
        (left,) = tmp_path.iterdir()
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [left]
        writer.kill()
    remove_leftovers(tmp_path, tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_write_goes_on_while_others_clean_up(tmp_path):
    ended = threading.Event()

    def clean() -> None:
        while not ended.is_set():
            remove_leftovers(tmp_path)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for number in range(200):
            write_atomically(tmp_path / "file", str(number).encode())
    finally:
        ended.set()
        cleaner.join()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "age", "removed"),
    [
        (".a.json.1x._y2za.other-machine.tmp", 3600, False),
        (".a.json.1x._y2za.other-machine.tmp", 90_000, True),
        (".a.json.1x._y2za.other-machine.tmp", -90_000, True),  # a clock that was wrong
        (".pixels-1.npy.abcd_123", 3600, False),
        (".pixels-1.npy.abcd_123", 90_000, True),  # from before they named their machine
        (".run-1.lock", 90_000, False),
        (".htaccess", 90_000, False),
        ("a.json.tmp", 90_000, False),
    ],
)
def test_what_another_machine_may_write_must_be_old(tmp_path, name, age, removed):
    path = tmp_path / name
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    remove_leftovers(tmp_path)
    assert path.exists() != removed


# --- computing once -------------------------------------------------------------------------------


def writes(content: bytes) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(content)


def test_four_threads_compute_once(tmp_path):
    path, calls, found = tmp_path / "deep" / "value", [], []
    started = threading.Barrier(4)

    def compute() -> Callable[[BinaryIO], object]:
        calls.append(threading.get_ident())
        time.sleep(0.05)
        return writes(b"value")

    def work() -> None:
        started.wait()
        found.append(cached(path, Path.read_bytes, compute))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"value"] * 4
    assert len(calls) == 1


def test_what_is_there_is_not_computed(tmp_path):
    path = tmp_path / "value"
    path.write_bytes(b"there")

    def compute() -> Callable[[BinaryIO], object]:
        raise AssertionError("computed again")

    assert cached(path, Path.read_bytes, compute) == b"there"


@pytest.mark.parametrize("stage", ["compute", "write"])
def test_a_failure_leaves_no_file_and_can_be_repeated(tmp_path, stage):
    path = tmp_path / "value"

    def fail(file: BinaryIO | None = None) -> Callable[[BinaryIO], object]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached(path, Path.read_bytes, fail if stage == "compute" else lambda: fail)
    assert not path.exists()
    assert cached(path, Path.read_bytes, lambda: writes(b"later")) == b"later"


SEALED = seal(b"value", Path("value"))


@pytest.mark.parametrize("damage", [b"", b"value", SEALED[:-1], seal(b"value", Path("other"))])
def test_what_is_damaged_is_told_and_computed_again(tmp_path, capsys, damage):
    path = tmp_path / "value"
    path.write_bytes(damage)
    make = lambda: sealed(path, writes(b"value"))  # noqa: E731
    assert cached(path, read_sealed, make) == b"value"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} is damaged")
    assert cached(path, read_sealed, lambda: pytest.fail("computed again")) == b"value"


def test_a_lock_left_by_a_killed_process_stops_nobody(tmp_path):
    path = tmp_path / "value"
    path.with_name(".value.lock").touch()
    assert cached(path, Path.read_bytes, lambda: writes(b"value")) == b"value"
