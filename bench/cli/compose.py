"""From configuration to objects: the only place that knows both."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from bench.cache import file_state
from bench.calibration.calibrator import Calibrator
from bench.calibration.native import NativeCalibrator
from bench.calibration.quantized_file import QuantizedFile
from bench.cli.config import Config, ModelConfig, register
from bench.cli.create import create
from bench.cli.custom_model import Problems, derived_head, names_of_classes, task_of_dataset
from bench.cli.heads import ChosenHead, all_heads, given_options, head_named
from bench.cli.targets import check_names, check_typed
from bench.data.calibration_order import read_image_list
from bench.data.contents import ContentHashes
from bench.data.dataset import Dataset
from bench.data.preprocess import make_preprocess
from bench.download import Download
from bench.engine.base import AotCompiler, Engine
from bench.environment import CONF
from bench.errors import ConfigError
from bench.model.export import Export
from bench.model.graph import Graph
from bench.model.onnx_model import OnnxModel, load_model
from bench.model.published import Published
from bench.model.zoo import Request, Source, check_weights, find_weights
from bench.quantization.plan import PrecisionPlan
from bench.quantization.weight_scales import WeightScales
from bench.results.options import write_options
from bench.run.machine import Machine
from bench.run.shared import Shared
from bench.run.spec import CalibrationSet, MeasurementSettings, Model, Run

T = TypeVar("T")


def build_run(config: Config, shared: Shared | None = None) -> Run:
    """Every object of one run; raises BenchError for what does not fit.

    Of ``shared`` it takes what a run of the same sweep made before.
    """
    shared = Shared() if shared is None else shared
    check_names(config)
    if not config.sweep.cache:
        raise ConfigError("sweep.cache is empty", "Name a folder, or unset BENCH_CACHE")
    problems = Problems()
    chosen = problems.of(lambda: _head_of(config, shared))
    weights_known = problems.of(lambda: _check_weights(config)) is not None
    dataset = problems.of(lambda: _dataset(config, chosen, shared))
    engine: Engine | AotCompiler | None = problems.of(lambda: create(config.engine, "engine"))
    beside = config.also_build
    also_build: AotCompiler | None = (
        None if beside is None else problems.of(lambda: create(beside, "also_build"))
    )
    calibrator: Calibrator | None = problems.of(lambda: create(config.calibrator, "calibrator"))
    calibration = problems.of(lambda: _calibration_set(config))
    measurement = problems.of(lambda: _measurement(config))
    plan = calibrator and problems.of(lambda: _plan(config, calibrator))
    model = None
    if chosen and weights_known and (dataset or config.model.path):  # nothing is fetched in vain
        name = dataset.name if dataset else str(config.dataset.get("name"))
        model = problems.of(lambda: _model(config, chosen, name, shared))
    problems.tell()
    assert dataset and engine and calibrator and calibration and measurement and plan and model
    if isinstance(calibrator, NativeCalibrator):
        fed: Calibrator = calibrator.for_batch(model.network.input_shape[0])
    else:
        fed = calibrator
    return Run(
        model=model,
        dataset=dataset,
        calibrator=fed,
        calibration=calibration,
        plan=plan,
        placement=config.placement.name,  # type: ignore[arg-type]
        scheme=config.scheme.name,  # type: ignore[arg-type]
        weights=WeightScales(
            config.weights.granularity.name,  # type: ignore[arg-type]
            config.weights.rule.name,  # type: ignore[arg-type]
        ),
        engine=(isinstance(engine, AotCompiler) and engine.runner()) or engine,
        measurement=measurement,
        cache=Path(config.sweep.cache),
        also_build=also_build,
        dataset_options=shared.once(
            "dataset options", str(config.dataset), lambda: _unusual_options(config.dataset)
        ),
        machine=machine_of(config.sweep.locks, shared),
        baseline_provider=config.baseline.provider.name,  # type: ignore[arg-type]
        shared=shared,
    )


def _check_weights(config: Config) -> bool:
    """Raise for weights that are missing: that comes before which images are."""
    if config.dataset.get("name") in config.model.weights:
        check_weights(_request(config, config.dataset.name))
    return True


def _dataset(config: Config, chosen: ChosenHead | None, shared: Shared) -> Dataset:
    """Without a head, for the task that the dataset is for: what else is wrong is told then."""
    asked, cache = str(config.dataset), config.sweep.cache
    task = chosen.head.task if chosen else task_of_dataset(config.dataset)

    def names() -> Sequence[str]:
        if chosen is None:
            return ("unknown",)
        network = _network(config, shared)
        return names_of_classes(chosen.name, chosen.head, network, _graph(network, shared))

    offered = {
        "task": task,
        "hashes": ContentHashes(Path(cache), config.sweep.strict),
        "model_classes": names,
        "cache": Path(cache),
    }
    dataset: Dataset = shared.once(
        "dataset",
        (asked, task, cache, config.sweep.strict, chosen and chosen.name, config.model.path),
        lambda: create(config.dataset, "dataset", **offered),
    )
    return dataset


def _calibration_set(config: Config) -> CalibrationSet:
    return CalibrationSet(
        config.calibration.size,
        config.calibration.seed,
        config.calibration.preprocess.name,  # type: ignore[arg-type]
        config.input_range.name,  # type: ignore[arg-type]
        config.calibration.strategy.name,  # type: ignore[arg-type]
        read_image_list(Path(listed)) if (listed := config.calibration.list) else None,
        config.calibration.pad,  # type: ignore[arg-type]
    )


def _measurement(config: Config) -> MeasurementSettings:
    return MeasurementSettings(
        config.evaluation.images,
        config.evaluation.batch_size,
        config.timing.rounds,
        config.timing.seconds,
        config.evaluation.agreement_score,
        config.evaluation.seed,
    )


def _plan(config: Config, calibrator: Calibrator) -> PrecisionPlan:
    """The plan asked for; of a file that is quantized already its own."""
    plan: PrecisionPlan = create(config.plan, "plan")
    if not isinstance(calibrator, QuantizedFile):
        return plan
    if plan.name != "all":
        raise ConfigError(
            f"calibrator {calibrator.name} is a quantized file, which itself defines what stays "
            f"in float, not plan={plan.name}",
            "Drop plan=",
        )
    return PrecisionPlan("file")


def _unusual_options(dataset: Any) -> str:
    """The cell of a dataset's options that are not as its YAML has them; its name is a column."""
    given: Any = OmegaConf.to_container(dataset, resolve=True)
    usual: dict[str, Any] = {}
    for file in (CONF / "dataset").glob("*.yaml"):
        content: Any = OmegaConf.to_container(OmegaConf.load(file))
        if content["_target_"] == given["_target_"]:
            usual = content
    return write_options(
        {
            key: json.dumps(value) if isinstance(value, bool) else str(value)
            for key, value in given.items()
            if key not in ("_target_", "name") and value != usual.get(key)
        }
    )


def machine_of(locks: str, shared: Shared) -> Machine:
    """What the runs of this process share with those of others here."""
    return shared.once("machine", locks, lambda: Machine(Path(locks)))


def build_typed(overrides: Sequence[str], shared: Shared | None = None) -> Run:
    """The run that these Hydra overrides of a row ask for, as the command line would compose it.

    Raises ConfigError for what no row may ask for, and what Hydra and OmegaConf raise; see
    ``bench.cli.messages``.
    """
    return build_run(compose_typed(overrides), shared)


def compose_typed(overrides: Sequence[str]) -> Config:
    """The configuration behind ``build_typed``; raises the same."""
    check_typed(overrides)
    if GlobalHydra.instance().is_initialized():  # inside of a job
        return cast(Config, compose("config", list(overrides)))
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return cast(Config, compose("config", list(overrides)))


def _head_of(config: Config, shared: Shared) -> ChosenHead:
    """The head that is named, or the one that the outputs of the user's file fit."""
    spec = config.model
    if not OmegaConf.is_missing(spec, "head"):
        return head_named(spec.head)
    if not spec.path:
        return head_named("")
    network = _network(config, shared)
    return head_named(derived_head(all_heads(), network, _graph(network, shared)))


def _network(config: Config, shared: Shared) -> OnnxModel:
    return _load(find_weights(_request(config, str(config.dataset.get("name")))).path, shared)


def _load(path: Path, shared: Shared) -> OnnxModel:
    state = file_state(path) if path.exists() else None
    return shared.once("network", (path, state), lambda: load_model(path))


def _graph(network: OnnxModel, shared: Shared) -> Graph:
    return shared.once("graph", network.sha256, lambda: Graph(network))  # the run's own


def _model(config: Config, chosen: ChosenHead, dataset: str, shared: Shared) -> Model:
    spec = config.model
    weights = find_weights(_request(config, dataset))
    network = _load(weights.path, shared)
    known = dataset in spec.weights
    own = given_options(spec.weights[dataset].preprocess) if known else {}
    given = given_options(spec.preprocess)
    others = [name for name in spec.weights if given_options(spec.weights[name].preprocess)]
    if others and not known and not given:  # nothing would tell that the head's convention is wrong
        raise ConfigError(
            f"model {spec.name} has no preprocessing for dataset {dataset} (it has for: "
            f"{', '.join(sorted(others))})",
            f"Add dataset.name={others[-1]} to use that one, or model.preprocess.fit=... and the "
            "other settings of its training",
        )
    preprocess = make_preprocess((network.height, network.width), **chosen.convention | own | given)
    published = _made(Published, spec, dataset, "published") if known else None
    return Model(spec.name, weights.origin, network, chosen.head, preprocess, published)


def _request(config: Config, dataset: str) -> Request:
    spec = config.model
    sources = {
        name: Source(
            given.file,
            _made(Download, spec, name, "download"),
            _made(Export, spec, name, "export"),
        )
        for name, given in spec.weights.items()
    }
    models, cache = Path(config.sweep.models), Path(config.sweep.cache)
    return Request(spec.name, dataset, spec.path, sources, models, cache)


def _made(kind: Callable[..., T], spec: ModelConfig, dataset: str, part: str) -> T | None:
    """The object of one part of a dataset's weights; None if nothing of it is given."""
    given: Any = OmegaConf.to_container(getattr(spec.weights[dataset], part))
    missing = [f"model.weights.{dataset}.{part}.{key}" for key in given if given[key] is None]
    if len(missing) == len(given):
        return None
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} is not given", "Add it, or drop the options beside it"
        )
    return kind(**given)
