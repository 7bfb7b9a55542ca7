"""Images in files: found in order, decoded as RGB, named when they are broken."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image as Pil

from bench.data.files import FileSamples, list_images
from bench.errors import DataError


def test_every_image_below_a_folder_in_order(tmp_path, write_picture):
    for name in ("b/2.png", "a.jpg", "b/10.PNG", "c.bmp"):
        write_picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    found = list_images(tmp_path, "dataset.images")
    assert found.names == ("a.jpg", "b/10.PNG", "b/2.png", "c.bmp")
    assert len(found) == 4


def test_pixels_as_rgb(tmp_path, write_picture):
    pixels = write_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(FileSamples(tmp_path, ("a.png",)).image(0), pixels)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    Pil.new(mode, (5, 4), 1).save(tmp_path / f"a.{suffix}")
    image = FileSamples(tmp_path, (f"a.{suffix}",)).image(0)
    assert image.shape == (4, 5, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n\0\0"],
    ids=["empty", "text", "header"],
)
def test_a_broken_image_is_named(tmp_path, content):
    path = tmp_path / "sub" / "broken.png"
    path.parent.mkdir()
    path.write_bytes(content)
    samples = list_images(tmp_path, "dataset.images")
    with pytest.raises(DataError) as caught:
        samples.image(0)
    text = str(caught.value)
    assert str(path) in text
    assert "Remove or replace the file" in text
    assert "\n" not in text


def test_a_truncated_image_is_named(tmp_path, write_picture):
    write_picture(tmp_path / "half.png", size=(200, 200))
    content = (tmp_path / "half.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half\.png cannot be read as an image"):
        FileSamples(tmp_path, ("half.png",)).image(0)


def test_the_fingerprint_is_that_of_names_and_contents(tmp_path, write_picture):
    folder = tmp_path / "here"
    write_picture(folder / "a.png", 1)
    write_picture(folder / "b.png", 2)
    before = list_images(folder, "x").fingerprint
    shutil.copytree(folder, tmp_path / "there")
    os.utime(folder / "a.png", (1, 1))
    assert list_images(folder, "x").fingerprint == before
    assert list_images(tmp_path / "there", "x").fingerprint == before
    (folder / "b.png").rename(folder / "c.png")
    renamed = list_images(folder, "x").fingerprint
    write_picture(folder / "a.png", 3)
    assert len({before, renamed, list_images(folder, "x").fingerprint}) == 3


def test_an_image_outside_the_folder_counts_from_it(tmp_path, write_picture):
    """An absolute name in it would tell a copy from what it was copied of."""
    keys = set()
    for place in ("here", "there"):
        write_picture(tmp_path / place / "images" / "a.png")
        (tmp_path / place / "data").mkdir()
        name = str(tmp_path / place / "images" / "a.png")
        keys.add(FileSamples(tmp_path / place / "data", (name,)).fingerprint)
    assert len(keys) == 1


@pytest.mark.parametrize("empty", [True, False])
def test_folders_without_images(tmp_path, empty):
    folder = tmp_path / "images"
    if empty:
        folder.mkdir()
    expected = "contains no image files" if empty else "does not exist"
    with pytest.raises(DataError, match=rf"{folder} {expected}\. Check dataset\.images"):
        list_images(folder, "dataset.images")


def test_the_size_is_read_without_decoding(tmp_path, write_picture):
    write_picture(tmp_path / "a.png", size=(12, 16))
    (tmp_path / "b.png").write_bytes(b"no picture")
    samples = list_images(tmp_path, "dataset.images")
    assert samples.size(0) == (16, 12)
    before = (tmp_path / "a.png").stat()
    write_picture(tmp_path / "a.png", size=(20, 30))
    os.utime(tmp_path / "a.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert samples.size(0) == (30, 20)
    with pytest.raises(DataError, match=r"b\.png cannot be read as an image"):
        samples.size(1)
