"""From picture to input and back: geometry, padding, values, and what configuration refuses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pil

from bench.data.preprocess import Preprocess, make_preprocess
from bench.errors import ConfigError

sides = st.integers(1, 400)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# --- letterbox ------------------------------------------------------------------------------------


def test_letterbox_pads_both_sides_with_grey():
    placed, fitting = Preprocess((64, 64)).place(np.full((32, 64, 3), 200, np.uint8))
    assert (placed[:16] == 114).all()
    assert (placed[16:48] == 200).all()
    assert (placed[48:] == 114).all()
    assert (fitting.scale_x, fitting.scale_y, fitting.left, fitting.top) == (1, 1, 0, 16)


def test_letterbox_puts_an_odd_row_below():
    """As Ultralytics: round(half - 0.1) above, the rest below."""
    placed, fitting = Preprocess((64, 64), pad=7).place(np.full((33, 64, 3), 200, np.uint8))
    assert fitting.top == 15
    assert (placed == 7).all(axis=(1, 2)).sum() == 31


def test_letterbox_pads_left_and_right_of_a_tall_picture():
    placed, fitting = Preprocess((64, 96)).place(np.full((128, 64, 3), 9, np.uint8))
    assert fitting.scale_x == fitting.scale_y == 0.5
    assert (fitting.left, fitting.top) == (32, 0)
    assert (placed[:, 32:64] == 9).all()
    assert (placed[:, :32] == 114).all()
    assert (placed[:, 64:] == 114).all()


@pytest.mark.parametrize(("height", "width"), [(50, 100), (100, 50), (48, 64), (300, 200)])
def test_letterbox_grey_share(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    placed, _ = Preprocess((64, 64)).place(image)
    share = (placed == 114).all(axis=2).mean()
    assert share == pytest.approx(1 - min(height, width) / max(height, width), abs=1 / 64)


def test_letterbox_resamples_as_opencv_does():
    image = noise(48, 96)
    placed, _ = Preprocess((64, 64)).place(image)
    expected = cv2.resize(image, (64, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(placed[16:48], expected)


def test_letterbox_leaves_a_picture_that_fits_alone():
    image = noise(64, 64)
    placed, fitting = Preprocess((64, 64)).place(image)
    np.testing.assert_array_equal(placed, image)
    assert fitting.scale_x == 1


@given(sides, sides, st.sampled_from(["letterbox", "stretch", "resize_crop"]))
@settings(max_examples=60, deadline=None)
def test_any_picture_fits(height, width, fit):
    placed, fitting = Preprocess((32, 48), fit=fit).place(noise(height, width))
    assert placed.shape == (32, 48, 3)
    assert placed.dtype == np.uint8
    assert (fitting.width, fitting.height) == (width, height)


@given(sides, sides, st.sampled_from(["letterbox", "stretch"]), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_boxes_come_back(height, width, fit, seed):
    _, fitting = Preprocess((96, 64), fit=fit).place(np.zeros((height, width, 3), np.uint8))
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (5, 2, 2)), axis=1) * [width, height]
    boxes = corners.reshape(5, 4).astype(np.float32)
    scale = np.array([fitting.scale_x, fitting.scale_y] * 2)
    there = boxes * scale + np.array([fitting.left, fitting.top] * 2)
    assert (there >= -1).all()
    assert (there <= np.array([64, 96, 64, 96]) + 1).all()
    back = fitting.to_picture(there.astype(np.float32))
    np.testing.assert_allclose(back, boxes, atol=1e-3 / min(fitting.scale_x, fitting.scale_y))


def test_a_bright_square_lands_where_the_fitting_says():
    for fit in ("letterbox", "stretch", "resize_crop"):
        image = np.zeros((120, 200, 3), np.uint8)
        image[40:60, 80:120] = 255
        placed, fitting = Preprocess((64, 64), fit=fit, pad=0).place(image)
        rows, columns = np.nonzero(placed[..., 0] > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        back = fitting.to_picture(np.array([found], np.float32))
        np.testing.assert_allclose(back, [[80, 40, 120, 60]], atol=3)


def test_boxes_are_clipped_to_the_picture():
    _, fitting = Preprocess((64, 64)).place(np.zeros((32, 64, 3), np.uint8))
    back = fitting.to_picture(np.array([[-5, 0, 80, 64]], np.float32))
    np.testing.assert_array_equal(back, [[0, 0, 64, 32]])
    assert back.dtype == np.float32


# --- stretch, resize and crop ---------------------------------------------------------------------


def test_stretch():
    image = noise(30, 70)
    placed, fitting = Preprocess((64, 32), fit="stretch").place(image)
    expected = cv2.resize(image, (32, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(placed, expected)
    assert (fitting.scale_x, fitting.scale_y) == (32 / 70, 64 / 30)
    assert (fitting.left, fitting.top) == (0, 0)


def torchvision(image: np.ndarray, resize: int, crop: int) -> np.ndarray:
    """``Resize(resize)`` and ``CenterCrop(crop)`` of torchvision.transforms on a PIL picture."""
    picture = Pil.fromarray(image)
    width, height = picture.size
    short, long = (width, height) if width <= height else (height, width)
    if short != resize:
        longer = int(resize * long / short)
        size = (resize, longer) if width <= height else (longer, resize)
        picture = picture.resize(size, Pil.Resampling.BILINEAR)
    width, height = picture.size
    top, left = round((height - crop) / 2.0), round((width - crop) / 2.0)
    return np.asarray(picture.crop((left, top, left + crop, top + crop)))


@given(st.integers(10, 200), st.integers(10, 200), st.sampled_from([32, 37, 40]))
@settings(max_examples=60, deadline=None)
def test_resize_crop_is_torchvision_s(height, width, resize):
    image = noise(height, width)
    placed, _ = Preprocess((32, 32), fit="resize_crop", resize=resize).place(image)
    np.testing.assert_array_equal(placed, torchvision(image, resize, 32))


@pytest.mark.parametrize("shape", [(49, 62), (62, 49), (147, 333)])
def test_resize_crop_where_a_ratio_rounds_down(shape):
    """49 x (256 / 49) is a little less than 256 in floating point."""
    image = noise(*shape)
    placed, _ = Preprocess((224, 224), fit="resize_crop", resize=256).place(image)
    np.testing.assert_array_equal(placed, torchvision(image, 256, 224))


def test_resize_crop_without_resize_fits_the_shorter_side():
    image = noise(64, 128)
    placed, fitting = Preprocess((64, 64), fit="resize_crop").place(image)
    np.testing.assert_array_equal(placed, image[:, 32:96])
    assert (fitting.left, fitting.top) == (-32, 0)


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_normalise_values_and_order(color):
    """Mean and std follow the network's channels, whatever their colours."""
    options = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 2.0), "scale": 1 / 255}
    pixels = noise(3, 5)[None]
    found = Preprocess((3, 5), color=color, **options).normalise(pixels)
    assert found.shape == (1, 3, 3, 5)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    for channel in range(3):
        source = channel if color == "rgb" else 2 - channel
        values = pixels[0, :, :, source].astype(np.float64) * options["scale"]
        expected = (values - options["mean"][channel]) / options["std"][channel]
        np.testing.assert_array_equal(found[0, channel], expected.astype(np.float32))


def test_normalise_without_scale_keeps_pixels():
    pixels = noise(4, 4)[None]
    found = Preprocess((4, 4), scale=1.0).normalise(pixels)
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), pixels[0])


@given(
    st.floats(0.001, 2),
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    st.lists(st.floats(0.1, 4), min_size=3, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_input_amax_is_the_largest_that_any_picture_makes(scale, mean, std):
    preprocess = Preprocess((2, 128), scale=scale, mean=tuple(mean), std=tuple(std))
    every = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 2, 128, 1), 3, axis=3)
    largest = np.abs(preprocess.normalise(every)).max()
    assert preprocess.input_amax() == pytest.approx(float(largest), rel=1e-6)


# --- configuration --------------------------------------------------------------------------------


def test_for_calibration_changes_the_fit_only():
    own = Preprocess((8, 8), fit="resize_crop", resize=10, color="bgr", mean=(1, 2, 3))
    assert own.for_calibration("same") is own
    stretched = own.for_calibration("stretch")
    cropped = Preprocess((8, 8), pad=3).for_calibration("crop")
    assert (stretched.fit, stretched.color, stretched.mean) == ("stretch", "bgr", (1, 2, 3))
    assert (cropped.fit, cropped.resize, cropped.pad) == ("resize_crop", None, 3)


@pytest.mark.parametrize("pad", [0, 114, 255, "noise"])
def test_the_padding_of_calibration_images_changes_nothing_but_the_padding(pad):
    own, image = Preprocess((24, 24), pad=114, mean=(1, 2, 3)), noise(12, 24)
    before, fitting = own.place(image)
    after, same = own.for_calibration("same", pad).place(image, seed=7)
    assert same == fitting
    np.testing.assert_array_equal(after[6:18], before[6:18])
    padded = np.concatenate([after[:6], after[18:]])
    if pad == "noise":
        assert len(np.unique(padded)) > 200
        assert abs(padded.mean() - 127.5) < 10
    else:
        assert (padded == pad).all()


def test_noise_is_the_same_for_a_seed_and_another_for_another():
    own, image = Preprocess((24, 24)).for_calibration("same", "noise"), noise(12, 24)
    one, again, other = (own.place(image, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one[:6] != other[:6]).mean() > 0.9


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_a_padding_where_nothing_is_padded_is_refused(fit):
    with pytest.raises(ConfigError, match=r"calibration.pad=0 changes nothing"):
        Preprocess((24, 24)).for_calibration(fit, 0)
    with pytest.raises(ConfigError, match=r"fitted by resize_crop"):
        Preprocess((24, 24), fit="resize_crop").for_calibration("same", 0)


@pytest.mark.parametrize("pad", [-1, 256, "grey", "0"])
def test_no_other_padding_of_calibration_images(pad):
    with pytest.raises(
        ConfigError, match=f"calibration.pad={pad} is not a pixel value. Use 0 to 255 or no"
    ):
        Preprocess((24, 24)).for_calibration("same", pad)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mean": (0.5,)}, "three numbers"),
        ({"std": (1.0, 1.0)}, "three numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ({"pad": 256}, "pad=256 is not a pixel value"),
        ({"pad": -1}, "pad=-1 is not a pixel value"),
        ({"fit": "resize_crop", "resize": 31}, "resize=31 is below the input's 32x24"),
    ],
)
def test_refusals(options, text):
    with pytest.raises(ConfigError, match=text):
        Preprocess((32, 24), **options)


def test_make_preprocess_from_plain_values():
    made = make_preprocess((64, 64), fit="stretch", size=64, crop=64, mean=[1, 2, 3], pad=5)
    assert made == Preprocess((64, 64), fit="stretch", mean=(1, 2, 3), pad=5)
    assert isinstance(hash(made), int)


@pytest.mark.parametrize("key", ["size", "crop"])
@pytest.mark.parametrize("input_size", [(32, 32), (64, 32)])
def test_a_size_that_contradicts_the_model(key, input_size):
    with pytest.raises(ConfigError) as caught:
        make_preprocess(input_size, fit="stretch", **{key: 64})
    text = str(caught.value)
    assert f"model.preprocess.{key}=64 contradicts" in text
    assert f"{input_size[0]}x{input_size[1]}" in text


def test_bicubic_is_another_picture_and_only_for_resize_crop() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    linear = Preprocess((64, 64), "resize_crop", resize=72)
    cubic = Preprocess((64, 64), "resize_crop", resize=72, interpolation="bicubic")
    scaled = Pil.fromarray(image).resize((96, 72), Pil.Resampling.BICUBIC)
    np.testing.assert_array_equal(cubic.place(image)[0], np.asarray(scaled)[4:68, 16:80])
    assert (cubic.place(image)[0] != linear.place(image)[0]).any()
    assert cubic.for_calibration("stretch").place(image)[0].shape == (64, 64, 3)
    for fit, name in (("letterbox", "bicubic"), ("resize_crop", "nearest")):
        with pytest.raises(ConfigError, match=f"interpolation={name}"):
            Preprocess((64, 64), fit, interpolation=name)
