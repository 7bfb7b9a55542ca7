"""From configuration to objects: the only place that knows both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from bench.cache import file_state
from bench.calibration.calibrator import Calibrator
from bench.calibration.native import NativeCalibrator
from bench.calibration.quantized_file import QuantizedFile
from bench.cli.config import Config, ModelConfig, PreprocessConfig, register
from bench.cli.targets import INNER, check_names, check_target, check_typed, not_given
from bench.data.calibration_order import read_image_list
from bench.data.contents import ContentHashes
from bench.data.preprocess import make_preprocess
from bench.download import Download
from bench.engine.base import AotCompiler, Engine
from bench.environment import CONF
from bench.errors import BenchError, ConfigError
from bench.model.export import Export
from bench.model.heads.base import Head
from bench.model.onnx_model import load_model
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
    named = not OmegaConf.is_missing(config.model, "head")
    head, convention = _head(config.model.head if named else "")
    if config.dataset.get("name") in config.model.weights:
        # Which weights are missing comes before which images.
        check_weights(_request(config, config.dataset.name))
    hashes = ContentHashes(Path(config.sweep.cache), config.sweep.strict)
    asked = str(config.dataset)
    dataset = shared.once(
        "dataset",
        (asked, head.task, config.sweep.cache, config.sweep.strict),
        lambda: create(config.dataset, "dataset", task=head.task, hashes=hashes),
    )
    engine: Engine | AotCompiler = create(config.engine, "engine")
    beside = config.also_build
    model = _model(config, head, convention, dataset.name, shared)
    calibrator: Calibrator = create(config.calibrator, "calibrator")
    if isinstance(calibrator, NativeCalibrator):
        calibrator = calibrator.for_batch(model.network.input_shape[0])
    return Run(
        model=model,
        dataset=dataset,
        calibrator=calibrator,
        calibration=CalibrationSet(
            config.calibration.size,
            config.calibration.seed,
            config.calibration.preprocess.name,  # type: ignore[arg-type]
            config.input_range.name,  # type: ignore[arg-type]
            config.calibration.strategy.name,  # type: ignore[arg-type]
            read_image_list(Path(listed)) if (listed := config.calibration.list) else None,
            config.calibration.pad,  # type: ignore[arg-type]
        ),
        plan=_plan(config, calibrator),
        placement=config.placement.name,  # type: ignore[arg-type]
        scheme=config.scheme.name,  # type: ignore[arg-type]
        weights=WeightScales(
            config.weights.granularity.name,  # type: ignore[arg-type]
            config.weights.rule.name,  # type: ignore[arg-type]
        ),
        engine=(isinstance(engine, AotCompiler) and engine.runner()) or engine,
        measurement=MeasurementSettings(
            config.evaluation.images,
            config.evaluation.batch_size,
            config.timing.rounds,
            config.timing.seconds,
            config.evaluation.agreement_score,
            config.evaluation.seed,
        ),
        cache=Path(config.sweep.cache),
        also_build=None if beside is None else create(beside, "also_build"),
        dataset_options=shared.once(
            "dataset options", asked, lambda: _unusual_options(config.dataset)
        ),
        machine=machine_of(config.sweep.locks, shared),
        baseline_provider=config.baseline.provider.name,  # type: ignore[arg-type]
        shared=shared,
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
    check_typed(overrides)
    if GlobalHydra.instance().is_initialized():  # inside of a job
        return build_run(cast(Config, compose("config", list(overrides))), shared)
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build_run(cast(Config, compose("config", list(overrides))), shared)


def create(node: Any, part: str, **offered: Any) -> Any:
    """The object that a node's ``_target_`` makes of its options; what goes wrong is one line.

    Of the objects ``offered`` it gets those that it has a parameter for. This is the only place
    that makes a class of a name, see ``check_target``; options are plain values, so that nothing
    inside of them is instantiated or resolved again, but for the objects of one option (``INNER``).
    """
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise not_given(part)
    options: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    return _create(options, part, "", offered)


def _create(options: dict[str, Any], part: str, place: str, offered: Mapping[str, Any]) -> Any:
    """The object of these plain options; ``place`` says where they stand, "" for the part's."""
    name = check_target(options, part, place)
    del options["_target_"]
    try:
        target = get_class(name)
        _check_options(options, target, place or part, offered)
        inner = "" if place else INNER.get(part, "")
        if inner in options:
            options[inner] = _create_inner(options[inner], part, f"{part}.{inner}", offered)
        taken = signature(target).parameters.keys() & offered.keys()
        return target(**options, **{key: offered[key] for key in taken})
    except (BenchError, OSError):
        raise
    except Exception as error:  # whatever a class makes of values that do not fit it
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{place or part} cannot be created ({reason})", f"Check conf/{part}"
        ) from error


def _create_inner(given: Any, part: str, place: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    """The objects of an option by their names; ConfigError for a value that is none."""
    if not isinstance(given, dict):
        raise ConfigError(f"{place}={given} has no names with a {part} each", "Change or drop it")
    for name, options in given.items():
        if not isinstance(options, dict) or "_target_" not in options:
            raise ConfigError(f"{place}.{name} is not a {part}", f"Drop it: ~{place}.{name}")
    return {
        str(name): _create(options, part, f"{place}.{name}", offered)
        for name, options in given.items()
    }


def _check_options(
    options: Mapping[str, Any], target: type, part: str, offered: Mapping[str, Any]
) -> None:
    """Raise ConfigError for an option that the target does not take, or not with that value."""
    kinds = get_type_hints(target.__init__)  # type: ignore[misc]
    known = [name for name in signature(target).parameters if name not in offered]
    for key, value in options.items():
        if key not in known:
            fix = f"Use {', '.join(known)}" if known else "It takes none"
            raise ConfigError(f"{part} {target.__name__} has no option '{key}'", fix)
        _check_value(f"{part}.{key}", value, kinds.get(key, Any))


_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list, such as [first]",
}


def _check_value(option: str, value: Any, kind: Any) -> None:
    """Raise ConfigError if a value is not of this kind; in JSON a list may be a tuple."""
    try:
        TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except PydanticSchemaGenerationError:
        return  # a kind of its own checks its values itself
    except ValidationError as error:
        for wrong in error.errors():
            found = wrong["input"]
            if wrong["type"] == "string_type" and type(found) in (int, float):
                continue  # a folder may be called 2017
            place = ".".join([option, *map(str, wrong["loc"])])
            shown = found if isinstance(found, str) else json.dumps(found)
            wanted = _WANTED.get(wrong["type"], wrong["msg"].removeprefix("Input should be "))
            raise ConfigError(f"{place}={shown} is not {wanted}", "Change or drop it") from error


def _head(name: str) -> tuple[Head, dict[str, Any]]:
    """The head, and the preprocessing that models of its kind are usually trained with."""
    known = {file.stem: file for file in sorted((CONF / "head").glob("*.yaml"))}
    if name not in known:
        what = f"={name} is unknown" if name else " is not given"
        raise ConfigError(f"model.head{what}", f"Use model.head= with one of {', '.join(known)}")
    content: Any = OmegaConf.load(known[name])
    preprocess = OmegaConf.merge(OmegaConf.structured(PreprocessConfig), content.preprocess)
    return create(content.head, "head"), _given(preprocess)


def _model(
    config: Config, head: Head, convention: dict[str, Any], dataset: str, shared: Shared
) -> Model:
    spec = config.model
    weights = find_weights(_request(config, dataset))
    state = file_state(weights.path) if weights.path.exists() else None
    network = shared.once("network", (weights.path, state), lambda: load_model(weights.path))
    known = dataset in spec.weights
    own = _given(spec.weights[dataset].preprocess) if known else {}
    given = _given(spec.preprocess)
    others = [name for name in spec.weights if _given(spec.weights[name].preprocess)]
    if others and not known and not given:  # nothing would tell that the head's convention is wrong
        raise ConfigError(
            f"model {spec.name} has no preprocessing for dataset {dataset} (it has for: "
            f"{', '.join(sorted(others))})",
            f"Add dataset.name={others[-1]} to use that one, or model.preprocess.fit=... and the "
            "other settings of its training",
        )
    preprocess = make_preprocess((network.height, network.width), **convention | own | given)
    published = _made(Published, spec, dataset, "published") if known else None
    return Model(spec.name, weights.origin, network, head, preprocess, published)


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


def _given(node: Any) -> dict[str, Any]:
    """The options that are set; null means not given."""
    values: Any = OmegaConf.to_container(node) if isinstance(node, DictConfig) else dict(node)
    names = {key: own.name if isinstance(own, Enum) else own for key, own in values.items()}
    return {key: value for key, value in names.items() if value is not None}
