"""Prepared images: the same as fitting them directly, once, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bench.data import prepared
from bench.data.dataset import Image
from bench.data.prepared import prepare
from bench.data.preprocess import Preprocess
from bench.errors import DataError

PREPROCESS = Preprocess((24, 32), color="bgr", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


class Counting:
    """Noise of several sizes; counts how often an image is asked for."""

    def __init__(self, broken: int | None = None) -> None:
        self.asked: list[int] = []
        self.broken = broken

    def __len__(self) -> int:
        return 7

    @property
    def names(self) -> Sequence[str]:
        return tuple(map(str, range(7)))

    def image(self, index: int) -> Image:
        self.asked.append(index)
        if index == self.broken:
            raise DataError(f"image {index} is broken")
        rng = np.random.default_rng(index)
        return rng.integers(0, 256, (20 + index, 50 - 3 * index, 3), dtype=np.uint8)


def test_content_is_that_of_direct_preprocessing(tmp_path):
    order = [3, 0, 6, 1]
    images = prepare(Counting(), "f", order, PREPROCESS, tmp_path)
    assert len(images) == 4
    for row, index in enumerate(order):
        placed, fitting = PREPROCESS.place(Counting().image(index))
        np.testing.assert_array_equal(images.pixels[row], placed)
        assert images.fittings[row] == fitting
        assert isinstance(images.fittings[row].width, int)
        expected = PREPROCESS.normalise(placed[None])
        np.testing.assert_array_equal(images.batch(row, 1), expected)


def test_a_second_call_touches_no_sample(tmp_path):
    samples = Counting()
    first = prepare(samples, "f", range(5), PREPROCESS, tmp_path)
    assert sorted(samples.asked) == [0, 1, 2, 3, 4]
    again = prepare(samples, "f", range(5), PREPROCESS, tmp_path)
    assert len(samples.asked) == 5
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.fittings == again.fittings


CUT = replace(PREPROCESS, fit="resize_crop", resize=40)


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "other"},
        {"order": [0, 1, 2, 4]},
        {"order": [1, 0, 2, 3]},
        {"preprocess": replace(PREPROCESS, fit="stretch")},
        {"preprocess": replace(PREPROCESS, pad=0)},
        {"preprocess": replace(PREPROCESS, size=(32, 24))},
        {"preprocess": replace(CUT, resize=41)},
        {"preprocess": replace(CUT, interpolation="bicubic")},
    ],
)
def test_other_pixels_are_prepared_anew(tmp_path, change):
    plain = {"fingerprint": "f", "order": [0, 1, 2, 3], "preprocess": PREPROCESS}
    for before in (plain, plain | {"preprocess": CUT}):
        prepare(Counting(), **before, folder=tmp_path)
    samples = Counting()
    prepare(samples, **(plain | change), folder=tmp_path)
    assert len(samples.asked) == 4


def test_other_values_of_the_same_pixels_are_not(tmp_path):
    """Colour order and normalisation come after what is stored."""
    prepare(Counting(), "f", [0, 1], PREPROCESS, tmp_path)
    samples, other = Counting(), replace(PREPROCESS, color="rgb", mean=(0.0, 0.0, 0.0))
    images = prepare(samples, "f", [0, 1], other, tmp_path)
    assert samples.asked == []
    np.testing.assert_array_equal(
        images.batch(0, 2), other.normalise(np.stack([images.pixels[row] for row in range(2)]))
    )


def test_a_batch_is_filled_up_with_copies_of_the_last_image(tmp_path):
    images = prepare(Counting(), "f", range(5), PREPROCESS, tmp_path)
    batch = images.batch(3, 4)
    assert batch.shape == (4, 3, 24, 32)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(
        batch[:2], PREPROCESS.normalise(np.stack([images.pixels[3], images.pixels[4]]))
    )
    np.testing.assert_array_equal(batch[2], batch[1])
    np.testing.assert_array_equal(batch[3], batch[1])


def test_the_first_images_are_a_part_of_the_file(tmp_path):
    images = prepare(Counting(), "f", [0, 2, 5, 6], PREPROCESS, tmp_path)
    first = images.first(2)
    assert len(first) == 2
    np.testing.assert_array_equal(first.batch(0, 2), images.batch(0, 2))
    assert first.fittings == images.fittings[:2]
    assert len({images.key, first.key, images.first(3).key}) == 3
    assert len(list(tmp_path.glob("*.npy"))) == 1


@pytest.mark.parametrize(("name", "other"), [("_CODE", "x"), ("versions", lambda *_: "x")])
def test_other_code_or_libraries_prepare_anew(name, other, tmp_path, monkeypatch):
    before = prepare(Counting(), "f", range(3), PREPROCESS, tmp_path)
    monkeypatch.setattr(prepared, name, other)
    samples = Counting()
    after = prepare(samples, "f", range(3), PREPROCESS, tmp_path)
    assert sorted(samples.asked) == [0, 1, 2]
    assert after.key != before.key


def test_a_broken_image_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="image 2 is broken"):
        prepare(Counting(broken=2), "f", range(5), PREPROCESS, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".npy"]


# --- damage ---------------------------------------------------------------------------------------


def zeroed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes(4) + content[at + 4 :]


DAMAGES = {
    "header": lambda content: zeroed(content, 8),
    "first picture": lambda content: zeroed(content, 200),
    "last picture": lambda content: zeroed(content, 128 + 4 * 24 * 32 * 3),
    "table": lambda content: zeroed(content, len(content) - 100),
    "seal": lambda content: zeroed(content, len(content) - 10),
    "cut in the pictures": lambda content: content[:3000],
    "cut in the table": lambda content: content[:-80],
    "longer": lambda content: content + bytes(4096),
    "empty": lambda content: b"",
    "another file": lambda content: b"\x93NUMPY",
}


def everything(samples, folder):
    images = prepare(samples, "f", range(5), PREPROCESS, folder)
    return images, [images.batch(row, 1) for row in range(5)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_changes_no_pixel_and_is_told_in_a_line(tmp_path, capsys, damage):
    before, expected = everything(Counting(), tmp_path)
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    samples = Counting()
    after, found = everything(samples, tmp_path)
    np.testing.assert_array_equal(found, expected)
    assert after.fittings == before.fittings
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} is damaged")
    assert len(samples.asked) == (1 if "picture" in damage and "cut" not in damage else 5)
    everything(Counting(), tmp_path)
    samples = Counting()
    everything(samples, tmp_path)
    assert (samples.asked, capsys.readouterr().err) == ([], "")


@pytest.mark.parametrize("change", ["cut", "removed", "overwritten"])
def test_a_file_that_is_damaged_while_it_is_open_changes_no_pixel(tmp_path, capsys, change):
    images, expected = everything(Counting(), tmp_path)
    (path,) = tmp_path.glob("*.npy")
    if change == "removed":
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.truncate(500) if change == "cut" else file.write(bytes(4096))
    np.testing.assert_array_equal([images.batch(row, 1) for row in range(5)], expected)
    assert len(capsys.readouterr().err.splitlines()) == (change != "removed")
