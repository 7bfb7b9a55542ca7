"""From configuration to objects: the only place that knows both."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.config import Config
from bench.data.preprocess import make_preprocess
from bench.errors import BenchError, ConfigError
from bench.model.heads.base import Head
from bench.model.onnx_model import OnnxModel, load_model
from bench.model.zoo import find_weights
from bench.spec import CalibrationSet, Model, Protocol, Run

CONF = Path(__file__).parent.parent / "conf"


def build_run(config: Config) -> Run:
    """Every object of one run; raises BenchError for what does not fit."""
    head, convention = _head(config.model.head)
    dataset = create(config.dataset, "dataset", task=head.task)
    return Run(
        model=_model(config, head, convention, dataset.name),
        dataset=dataset,
        calibrator=create(config.calibrator, "calibrator"),
        calibration=CalibrationSet(
            config.calibration.size,
            config.calibration.seed,
            config.calibration.preprocess,  # type: ignore[arg-type]
            config.input_range,  # type: ignore[arg-type]
        ),
        plan=create(config.plan, "plan"),
        placement=config.placement,  # type: ignore[arg-type]
        engine=create(config.engine, "engine"),
        protocol=Protocol(
            config.evaluation.images,
            config.evaluation.batch_size,
            config.timing.rounds,
            config.timing.seconds,
        ),
        cache=Path(config.sweep.cache),
    )


def create(node: Any, part: str, **given: Any) -> Any:
    """Instantiate a node from its ``_target_``; what goes wrong becomes one line."""
    try:
        return instantiate(node, _convert_="all", **given)
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, BenchError):
            cause = cause.__cause__
        if isinstance(cause, BenchError):
            raise cause from error
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ConfigError(f"{part} cannot be created ({reason})", f"Check conf/{part}") from error


def _head(name: str) -> tuple[Head, dict[str, Any]]:
    """The head, and the preprocessing that models of its kind are usually trained with."""
    path = CONF / "head" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise ConfigError(f"model.head={name} is unknown", f"Use one of {known}")
    content: Any = OmegaConf.load(path)
    return create(content.head, "head"), _given(content.preprocess)


def _model(config: Config, head: Head, convention: dict[str, Any], dataset: str) -> Model:
    spec = config.model
    files = {name: weights.file for name, weights in spec.weights.items()}
    weights = find_weights(spec.name, dataset, spec.path, files)
    network = _load(weights.path, weights.path.stat().st_mtime_ns if weights.path.exists() else 0)
    own = _given(spec.weights[dataset].preprocess) if dataset in spec.weights else {}
    options = convention | own | _given(spec.preprocess)
    preprocess = make_preprocess((network.height, network.width), **options)
    return Model(spec.name, weights.origin, network, head, preprocess)


@lru_cache(maxsize=4)
def _load(path: Path, changed: int) -> OnnxModel:
    """A process makes many runs of one model; ``changed`` tells a file's versions apart."""
    return load_model(path)


def _given(node: Any) -> dict[str, Any]:
    """The options that are set; null means not given."""
    values: Any = OmegaConf.to_container(node) if isinstance(node, DictConfig) else dict(node)
    return {key: value for key, value in values.items() if value is not None}


def one_line(error: BaseException) -> str:
    """Hydra's and OmegaConf's messages, which span lines, as one."""
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {str(error).splitlines()[0]}"
    return " ".join(str(error).split())
