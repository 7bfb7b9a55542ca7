"""What a run refuses before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bench.calibration.native import NativeCalibration
from bench.cli.compose import build_run
from bench.engine.onnxrt import OnnxRuntime
from bench.errors import ConfigError
from bench.quantization.plan import Placement
from bench.run.spec import Run
from tests.composing import composed


@dataclass(frozen=True)
class SymmetricOnly(OnnxRuntime):
    """An engine without zero points, as TensorRT is."""

    name: str = "plain"
    schemes = ("symmetric",)


@dataclass(frozen=True)
class Calibrates(OnnxRuntime):
    """An engine with calibrators of its own, as TensorRT's implicit mode."""

    name: str = "native"
    calibrates = True

    def calibrate(self, *given: object) -> NativeCalibration:
        raise NotImplementedError


@pytest.fixture
def run(tmp_path) -> Run:
    places = [f"sweep.out={tmp_path}/out", f"sweep.cache={tmp_path}/cache"]
    return build_run(composed("model=resnet18", "calibration.size=8", *places))


@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_a_scheme_that_the_engine_has_is_taken(run: Run, scheme) -> None:
    replace(run, scheme=scheme).check()


def test_a_scheme_that_the_engine_lacks_is_refused_in_one_line(run: Run) -> None:
    plain = replace(run, engine=SymmetricOnly())
    plain.check()
    with pytest.raises(ConfigError, match="engine plain has no asymmetric quantization") as error:
        replace(plain, scheme="asymmetric").check()
    assert "Use scheme=symmetric, or another engine" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("placement", ["implicit", "implicit_tensorrt10"])
def test_an_engine_that_calibrates_takes_every_implicit_placement(
    run: Run, placement: Placement
) -> None:
    replace(run, engine=Calibrates(), placement=placement).check()


@pytest.mark.parametrize("placement", ["explicit", "explicit_residual"])
def test_an_engine_that_calibrates_refuses_explicit_placements(
    run: Run, placement: Placement
) -> None:
    told = f"needs every tensor's range, not placement={placement}. Add placement=implicit"
    with pytest.raises(ConfigError, match=told):
        replace(run, engine=Calibrates(), placement=placement).check()


@pytest.mark.parametrize(
    ("placement", "calibrating", "shared"),
    [
        ("implicit", True, "implicit_tensorrt10"),
        ("implicit", False, "implicit"),
        ("implicit_tensorrt10", True, "implicit_tensorrt10"),
        ("explicit", False, "explicit"),
    ],
)
def test_tensorrt_s_implicit_mode_shares_ranges_as_it_does_since_8_5(
    run: Run, placement: Placement, calibrating: bool, shared: Placement
) -> None:
    """Its caches of 8.5.1 and 10 give a Concat a scale of its own; those of 7.1 did not."""
    engine = Calibrates() if calibrating else run.engine
    assert replace(run, placement=placement, engine=engine).sharing == shared
