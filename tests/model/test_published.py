"""When a measured baseline is too far from the published one, and when that is only few images."""

from __future__ import annotations

import math

import pytest

from bench.errors import ConfigError
from bench.model.published import Published

YOLOV8N = Published("COCO val2017", 80, "mAP50-95", 0.373, 5000, "https://docs")


def test_all_images_leave_three_points():
    assert YOLOV8N.margin(5000) == YOLOV8N.margin(9000) == pytest.approx(0.03)
    assert not YOLOV8N.doubt(0.344, 5000)
    assert not YOLOV8N.doubt(0.402, 5000)
    assert YOLOV8N.doubt(0.342, 5000)
    assert YOLOV8N.doubt(0.404, 5000)


def test_fewer_images_leave_more():
    margins = [YOLOV8N.margin(n) for n in (10, 85, 1000, 4999, 5000)]
    assert margins == sorted(margins, reverse=True)
    # Without replacement: 1.96 sqrt(p (1 - p) / n (N - n) / (N - 1)).
    expected = 1.96 * math.sqrt(0.373 * 0.627 / 85 * 4915 / 4999)
    assert YOLOV8N.margin(85) == pytest.approx(0.03 + expected)


def test_85_images_of_coco_that_read_seven_points_higher_are_no_reason_to_doubt():
    assert not YOLOV8N.doubt(0.450, 85)


@pytest.mark.parametrize("measured", [0.0, 0.02, float("nan"), 0.9])
def test_a_broken_baseline_is_one_line_that_says_what_to_check(measured):
    line = YOLOV8N.doubt(measured, 85)
    for part in ("85 images", "0.373", "COCO val2017", "https://docs", "check the preprocessing"):
        assert part in line
    assert "\n" not in line


def test_only_for_its_metric_and_its_classes():
    assert YOLOV8N.applies("mAP50-95", 80)
    assert not YOLOV8N.applies("mAP50", 80)
    assert not YOLOV8N.applies("mAP50-95", 3)  # data of one's own in COCO's format


@pytest.mark.parametrize(("value", "images"), [(37.3, 5000), (0.0, 5000), (0.373, 1)])
def test_a_value_that_is_no_fraction_is_one_line(value, images):
    with pytest.raises(ConfigError, match="a fraction between 0 and 1"):
        Published("COCO val2017", 80, "mAP50-95", value, images, "")
