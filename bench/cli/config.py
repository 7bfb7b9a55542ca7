"""The shape of the configuration, against which Hydra validates YAML files and command line."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf
from platformdirs import user_cache_dir, user_runtime_dir

from bench.cli import choices
from bench.cli.custom_model import name_of
from bench.cli.run_help import listed_groups, listed_presets
from bench.environment import CONF
from bench.results.settings import Settings, read_share


@dataclass
class PreprocessConfig:
    """See ``bench.data.preprocess``; null takes the default, or the size in the model file."""

    fit: choices.Fit | None = None
    size: int | None = None
    resize: int | None = None
    crop: int | None = None
    interpolation: choices.Interpolation | None = None
    pad: int | None = None
    color: choices.Color | None = None
    scale: float | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


@dataclass
class DownloadConfig:
    """See ``bench.download.Download``; all keys or none."""

    url: str | None = None
    sha256: str | None = None


@dataclass
class ExportConfig:
    """See ``bench.model.export.Export``; all keys or none."""

    package: str | None = None
    weights: str | None = None
    size: int | None = None


@dataclass
class PublishedConfig:
    """See ``bench.model.published.Published``; all keys or none."""

    dataset: str | None = None
    classes: int | None = None
    metric: str | None = None
    value: float | None = None
    images: int | None = None
    source: str | None = None


@dataclass
class WeightsConfig:
    """Weights for one dataset: a file, and the preprocessing of that training where it differs.

    ``download`` and ``export`` are other sources of them, ``published`` is the metric to expect.
    """

    file: str = MISSING
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    download: DownloadConfig = field(default_factory=DownloadConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)


@dataclass
class ModelConfig:
    """An architecture, its head and preprocessing, and its weights for each dataset."""

    name: str = MISSING
    path: str | None = None
    head: str = MISSING
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    weights: dict[str, WeightsConfig] = field(default_factory=dict)


@dataclass
class CalibrationConfig:
    """The calibration set; see ``bench.run.spec.CalibrationSet``."""

    size: int = 64
    seed: int = 0
    preprocess: choices.CalibrationFit = choices.CalibrationFit.same
    pad: int | str | None = None
    strategy: choices.Strategy = choices.Strategy.random
    list: str | None = None


@dataclass
class QuantizedWeightsConfig:
    """How scales of weights are computed; see ``bench.quantization.weight_scales.WeightScales``."""

    granularity: choices.Granularity = choices.Granularity.per_channel
    rule: choices.WeightRule = choices.WeightRule.max


@dataclass
class BaselineConfig:
    """What runs the FP32 ONNX file; see ``bench.engine.onnxrt.OnnxRuntime``."""

    provider: choices.Provider = choices.Provider.cpu


@dataclass
class EvaluationConfig:
    """How many validation images (null: all); see ``bench.run.spec.MeasurementSettings``."""

    images: int | None = None
    seed: int = 0
    batch_size: int = 1
    agreement_score: float = 0.25


@dataclass
class TimingConfig:
    """Alternating rounds, and the seconds after which no round starts (ten run at least).

    No rounds: nothing is timed.
    """

    rounds: int = 50
    seconds: float = 3.0


@dataclass
class SweepConfig:
    """Where rows, table and report are written, and where intermediate results are cached.

    ``strict``: see ``bench.data.contents.ContentHashes``; ``locks``: ``bench.run.machine``.
    ``objective``: the columns that a sweeper optimizes, such as Optuna's. ``race``: see
    ``bench.run.race``.
    """

    out: str = MISSING
    cache: str = MISSING
    locks: str = MISSING
    strict: bool = False
    race: bool = False
    models: str = "models"
    objective: list[str] = field(default_factory=lambda: ["int8"])


@dataclass
class ConfirmConfig:
    """What is measured again before a recommendation; see ``bench.cli.confirm``."""

    seeds: int = 2
    roundings: int = 3


@dataclass
class DiagnoseConfig:
    """What ``int8bench diagnose`` measures; see ``bench.run.diagnose.DiagnosisSettings``."""

    images: int = 32
    metric: bool = False
    rules: list[str] = field(
        default_factory=lambda: [
            "minmax", "percentile", "percentile_99.9", "percentile_99.999", "entropy2", "mse",
        ]
    )  # fmt: skip


@dataclass
class ReportConfig:
    """See ``bench.results.settings.Settings``."""

    margin: Any = None


@dataclass
class Config:
    """The whole configuration; parts of type Any are instantiated from their ``_target_``."""

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: Any = MISSING
    calibrator: Any = MISSING
    plan: Any = MISSING
    engine: Any = MISSING
    also_build: Any = None
    placement: choices.Placement = choices.Placement.explicit
    scheme: choices.Scheme = choices.Scheme.symmetric
    weights: QuantizedWeightsConfig = field(default_factory=QuantizedWeightsConfig)
    input_range: choices.InputRange = choices.InputRange.calibrated
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    timing: TimingConfig = field(default_factory=TimingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    confirm: ConfirmConfig = field(default_factory=ConfirmConfig)
    diagnose: DiagnoseConfig = field(default_factory=DiagnoseConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    max_loss: Any = None
    tracking: Any = None


def register() -> None:
    """Register the schema with Hydra as ``schema``, and the default folders as resolvers."""
    OmegaConf.register_new_resolver("usual_cache", _usual_cache, replace=True)
    OmegaConf.register_new_resolver("usual_locks", _usual_locks, replace=True)
    OmegaConf.register_new_resolver("file_stem", name_of, replace=True)
    OmegaConf.register_new_resolver("listed_groups", lambda: listed_groups(CONF), replace=True)
    OmegaConf.register_new_resolver("listed_presets", lambda: listed_presets(CONF), replace=True)
    ConfigStore.instance().store("schema", node=Config)


def _usual_cache() -> str:
    return os.environ.get("BENCH_CACHE", user_cache_dir("int8bench", appauthor=False))


def _usual_locks() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "XDG_RUNTIME_DIR is not set": /tmp is used
        return user_runtime_dir("int8bench", appauthor=False)


def settings_of(config: Any) -> Settings:
    """The settings of a sweep's answer; ConfigError for values out of range."""
    return Settings(
        read_share("report.margin", config.report.margin), read_share("max_loss", config.max_loss)
    )
