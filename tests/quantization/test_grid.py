"""Ranges and the integer grids on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.calibration.statistics import Snapshot, TensorStatistics
from bench.quantization.grid import amax_of, grid_of, ranges_of, widest

ends = st.floats(2**-60, 2**20, width=32)


def look(*values: float) -> Snapshot:
    statistics = TensorStatistics("x")
    statistics.update(np.array(values, np.float32))
    return statistics.snapshot()


@given(st.floats(1e-20, 1e6))
def test_symmetric_is_int8_around_zero(amax: float) -> None:
    grid = grid_of(amax)
    assert grid.scale == np.float32(amax / 127)
    assert (grid.zero_point, grid.zero_point.dtype) == (0, np.int8)


@given(ends, ends)
def test_asymmetric_is_uint8_from_end_to_end(below: float, above: float) -> None:
    grid = grid_of((-below, above))
    assert grid.zero_point.dtype == np.uint8
    assert grid.scale > 0
    scale, zero = float(grid.scale), int(grid.zero_point)
    tolerance = scale * 0.501 + 1e-6 * (below + above)
    assert abs((0 - zero) * scale + below) <= tolerance
    assert abs((255 - zero) * scale - above) <= tolerance


def test_zero_is_always_on_the_grid() -> None:
    assert grid_of((2.0, 5.1)).zero_point == 0  # the range is widened to zero
    assert grid_of((-5.1, -2.0)).zero_point == 255
    assert grid_of((2.0, 5.1)).scale == pytest.approx(5.1 / 255)


def test_the_ranges_of_a_scheme() -> None:
    seen = {"silu": look(-0.28, 0, 8), "zeros": look(0, 0)}
    thresholds = {"silu": 6.0, "zeros": 1.0}
    assert ranges_of("symmetric", thresholds, seen) == thresholds
    assert ranges_of("asymmetric", thresholds, seen) == {
        "silu": (pytest.approx(-0.28), 6.0),
        "zeros": (-1.0, 1.0),
    }


def test_the_widest_of_several() -> None:
    assert widest(1.0, 3.0, 2.0) == 3.0
    assert widest((-1.0, 2.0), (-0.5, 4.0)) == (-1.0, 4.0)
    assert amax_of(3.0) == amax_of((-3.0, 2.0)) == 3.0
