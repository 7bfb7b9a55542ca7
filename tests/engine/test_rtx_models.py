"""TensorRT for RTX takes whole models as the harness writes them, under every plan of conf/plan.

Nobody here can run what is built; that parser and builder accept every Q/DQ file is what is tested.
The ranges are those of no image: they change no layer.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench.cli.create import create
from bench.engine.base import Compiled
from bench.engine.trt.rtx import TensorRtRtx
from bench.environment import CONF
from bench.model.edit import with_batch
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel, load_model
from bench.model.zoo import CARRIED
from bench.quantization.plan import Placement, place
from bench.quantization.qdq import insert_qdq
from tests.e2e.command import ROOT

PLANS = sorted(
    {path.stem for path in (CONF / "plan").glob("*.yaml")} - {"auto", "custom", "ultralytics"}
)
"""But for those that need a search, selectors, or a YOLO's names."""
EMBEDDED = {
    name: CARRIED / f"{name}_shapes.onnx" for name in ("yolov8n", "resnet18", "mobilenetv2")
}
MODELS = [
    pytest.param(name, marks=() if name == "mobilenetv2" else pytest.mark.slow) for name in EMBEDDED
]
SHARED = ROOT.parent / "shared" / "models"
REAL = {
    "yolox_nano": SHARED / "yolox_nano.onnx",
    "yolov8n_coco": SHARED / "yolov8n_coco_w8.onnx",
    "resnet20": SHARED / "resnet20_cifar10.onnx",
}

pytestmark = pytest.mark.usefixtures("package")


@pytest.fixture(scope="module")
def package() -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="pip install -e '.[rtx]'")


@lru_cache
def loaded(path: Path) -> tuple[OnnxModel, Graph]:
    model = load_model(path)
    return model, Graph(model)


@lru_cache
def compiled(
    path: Path,
    plan: str = "",
    capability: str = "SM89",
    placement: Placement = "explicit",
    half: bool = False,
) -> Compiled:
    """The engine of one image; of the FP32 network where no plan is named."""
    model, graph = loaded(path)
    proto = model.proto
    if plan:
        chosen = create(OmegaConf.load(CONF / "plan" / f"{plan}.yaml"), "plan")
        points = place(chosen, placement, graph)
        proto = insert_qdq(model, graph, points, dict.fromkeys(points.tensors, 1.0))
    return TensorRtRtx(capability, half).compile_int8(with_batch(proto, model.input_name, 1))


@pytest.mark.parametrize("capability", ["SM89", pytest.param("SM86", marks=pytest.mark.slow)])
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", MODELS)
def test_the_embedded_models_are_built_under_every_plan(
    name: str, plan: str, capability: str
) -> None:
    built = compiled(EMBEDDED[name], plan, capability)
    assert built.warnings == ()
    assert built.content != compiled(EMBEDDED[name], "", capability).content


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "resnet18"])
def test_int8_weights_make_the_engine_smaller(name: str) -> None:
    """(MobileNetV2's grows: 3.4 MB in FP32, 6.5 MB in INT8.)"""
    sizes = [len(compiled(EMBEDDED[name], plan).content) for plan in ("all", "float_first", "")]
    assert sizes[0] < 0.7 * sizes[2]
    assert sizes[1] < 0.7 * sizes[2]


@pytest.mark.parametrize("name", MODELS)
def test_for_another_gpu_another_engine_is_built(name: str) -> None:
    for plan in ("", "all"):
        other = compiled(EMBEDDED[name], plan, "SM86")
        assert len(other.content) > 1_000_000
        assert other.content != compiled(EMBEDDED[name], plan).content


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["explicit_residual", "implicit"])
@pytest.mark.parametrize("name", MODELS)
def test_other_placements_are_built_too(name: str, placement: Placement) -> None:
    assert compiled(EMBEDDED[name], "all", "SM89", placement).warnings == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_what_is_not_int8_is_built_in_fp16_where_asked(name: str) -> None:
    whole, mixed, fp32 = (
        len(compiled(EMBEDDED[name], *chosen).content)
        for chosen in (
            ("", "SM89", "explicit", True),
            ("float_head", "SM89", "explicit", True),
            ("float_head",),
        )
    )
    assert whole < 0.7 * len(compiled(EMBEDDED[name]).content)
    assert mixed < fp32


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_models_of_the_world_are_built(name: str) -> None:
    path = REAL[name]
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    for plan in ("", "all", "float_first_and_head"):
        assert len(compiled(path, plan).content) > 1_000_000
