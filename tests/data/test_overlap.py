"""Calibration images that are evaluated too are found by file and by content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.data import contents
from bench.data.files import list_images
from bench.data.overlap import count_shared
from bench.data.shapes_dataset import ShapesDataset


@pytest.fixture
def folder(tmp_path, write_picture) -> Path:
    for seed in range(4):
        write_picture(tmp_path / "val" / f"{seed}.bmp", seed)  # all of one size
        write_picture(tmp_path / "calib" / f"{seed}.bmp", seed + 10)
    return tmp_path


def count(
    folder: Path, calibration: str = "calib", used: int = 4, evaluated: int = 4
) -> int | None:
    chosen = list_images(folder / calibration, "")
    return count_shared(
        chosen, range(min(used, len(chosen))), list_images(folder / "val", ""), range(evaluated)
    )


def test_sets_apart(folder):
    assert count(folder) == 0


def test_the_same_folder(folder):
    assert count(folder, "val") == 4
    assert count(folder, "val", used=2) == 2
    assert count(folder, "val", evaluated=3) == 3  # the last is not evaluated


def test_a_link_and_a_copy_of_another_name(folder):
    (folder / "calib" / "4.bmp").symlink_to(folder / "val" / "2.bmp")
    assert count(folder, used=5) == 1
    shutil.copy(folder / "val" / "1.bmp", folder / "calib" / "0.bmp")
    assert count(folder, used=5) == 2


def test_what_the_fingerprints_read_is_not_read_again(folder, monkeypatch):
    samples = [list_images(folder / split, "") for split in ("val", "calib")]
    assert len({own.fingerprint for own in samples}) == 2
    monkeypatch.setattr(contents, "hash_file", lambda path: pytest.fail("read"))
    assert count_shared(samples[1], range(4), samples[0], range(4)) == 0


def test_drawn_images_are_no_files():
    data = ShapesDataset("classification", 3, 3)
    assert count_shared(data.calibration, range(3), data.validation, range(3)) is None
