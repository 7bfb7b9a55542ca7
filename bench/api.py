"""What the command line does, from Python.

    from bench import calibrate, evaluate, quantize

    calibration = calibrate("yolov8n.onnx", "calib/", "dataset=yolo", {"dataset.file": "data.yaml"})
    quantized = quantize(calibration, "entropy2", plan="float_head")
    quantized.save("yolov8n-int8.onnx")
    print(evaluate(quantized).int8)

Keys are those of the command line (``docs/reference/axes.md``). They are given as words,
``"calibration.size=64"``, written as there, or as a mapping, ``{"model.path": path}``, whose values
are taken as they are: no character of a path or a name means anything in it.

Every function raises a subclass of ``bench.errors.BenchError`` for what its caller can fix, with
one line that says what was wrong and the fix, and OSError where a file cannot be written. Progress
and warnings go to stderr, and nothing to stdout.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import onnx
import pandas as pd
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from bench.cache import write_atomically
from bench.calibration.calibrator import is_native
from bench.cli.app import sweep_folders
from bench.cli.compose import build_run, compose_typed
from bench.cli.messages import one_line
from bench.cli.plan_search import choose_plan, is_open
from bench.cli.report import redraw
from bench.cli.words import key_of, words_of
from bench.data.dataset import Image, Samples
from bench.data.files import list_images
from bench.data.given import CalibratedOn, GivenPictures
from bench.engine.base import AotCompiler
from bench.errors import ConfigError
from bench.evaluation.estimate import Interval
from bench.evaluation.interval import over_images
from bench.evaluation.task import Score, compare
from bench.model.edit import with_batch
from bench.quantization.grid import Range
from bench.results.folder import SweepFolder
from bench.results.row import Row
from bench.results.store import RowStore
from bench.results.table import read_table
from bench.run.execute import execute_once
from bench.run.measure import int8_model, measure_accuracy, task_of
from bench.run.ranges import RunRanges, find_run_ranges
from bench.run.ranges import calibrate as collect
from bench.run.ranges import quantize as insert
from bench.run.shared import Shared
from bench.run.spec import Run

Keys = str | Mapping[str, object]
"""A word of the command line, "calibration.size=64", or a mapping of keys to plain values."""

_OF_QUANTIZATION = ("calibrator", "plan", "scheme", "weights", "input_range")
_OF_EVALUATION = ("dataset", "evaluation", "engine", "baseline")


@contextlib.contextmanager
def _as_bench_errors() -> Iterator[None]:
    """What Hydra and OmegaConf say of words that do not fit becomes a line of ours."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the tensors of a model showed on its calibration images: any number of calibrators can
    be applied to it without running the model again. A context manager; ``close`` frees what it
    holds, such as the FP32 model's sessions.

    ``size`` images were seen. ``seconds`` is what running them took, when it was first done: the
    statistics are kept in the cache (``sweep.cache``).
    """

    words: tuple[str, ...]
    size: int
    seconds: float
    samples: Samples | None = field(repr=False)
    shared: Shared = field(repr=False)

    def run(self, words: Sequence[str]) -> Run:
        """The run of these words beside those of the calibration."""
        return _run([*self.words, *words], self.samples, self.shared)

    def close(self) -> None:
        """Free what is held; what is asked for later is made anew."""
        self.shared.close()

    def __enter__(self) -> Calibration:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """An INT8 model: ``proto``, an ONNX file with Q/DQ nodes.

    ``ranges`` has what each quantized activation is clipped to, in its unit: amax, for [-amax,
    amax], or (low, high) with ``scheme=asymmetric``. ``rules`` names the rule of each tensor, where
    the calibrator chooses one for each. ``seconds`` were spent on searching the thresholds.
    """

    proto: onnx.ModelProto = field(repr=False)
    calibrator: str
    plan: str
    calibration: Calibration = field(repr=False)
    words: tuple[str, ...] = field(repr=False)
    run_ranges: RunRanges = field(repr=False)

    @property
    def ranges(self) -> Mapping[str, Range]:
        return self.run_ranges.ranges

    @property
    def rules(self) -> Mapping[str, str]:
        return self.run_ranges.rules

    @property
    def seconds(self) -> float:
        return self.run_ranges.seconds

    def save(self, path: str | Path) -> Path:
        """Write the ONNX file, whole or not at all; returns its path. Raises OSError."""
        target = Path(path)
        write_atomically(target, self.proto.SerializeToString())
        return target


@dataclass(frozen=True)
class Evaluation:
    """A quantized model beside its FP32 model on the same labelled images.

    ``fp32`` and ``int8`` are the metric, a fraction in [0, 1], with the 95 % interval over images;
    ``delta`` is INT8 minus FP32 with the interval of the difference, paired by image: if it holds
    zero, no loss is proven. ``low`` and ``high`` are nan where too few images tell them.
    """

    metric: str
    n_images: int
    fp32: Interval
    int8: Interval
    delta: Interval


def calibrate(
    model: str | Path,
    images: str | Path | Sequence[Image] | None = None,
    *keys: Keys,
) -> Calibration:
    """Run the FP32 model once over the calibration images.

    ``model`` is an ONNX file (``model.onnx``), or a name of ``conf/model`` such as ``yolov8n``.
    ``images`` is a folder of images, or a sequence of pictures, each height x width x 3 uint8 RGB:
    they are fitted and scaled as ``model.preprocess`` says. None: the calibration images of
    ``dataset``, which as it comes is the embedded one. ``calibration.size`` is 64 unless it is
    given; of ``images`` all are used.

    Raises ModelError, DataError or ConfigError. Ranges follow NVIDIA's TensorRT developer guide;
    ``docs/explanation/calibration.md`` names the source of each rule.
    """
    with _as_bench_errors():
        given = words_of(keys)
        words, shared = [*_model_words(model), *given], Shared()
        samples = _samples(words, images, shared)
        if samples is not None and not any(key_of(word) == "calibration.size" for word in given):
            words.append(f"calibration.size={len(samples)}")
        run = _run(words, samples, shared)
        if run.calibration.size > len(run.calibration_order):
            raise ConfigError(
                f"calibration.size={run.calibration.size} is more than the "
                f"{len(run.calibration_order)} calibration images",
                "Ask for fewer, or give more images",
            )
        seen = collect(run, run.graph)
    return Calibration(tuple(words), seen.size, seen.seconds, samples, shared)


def quantize(
    calibration: Calibration, calibrator: str = "minmax", plan: str = "all", *keys: Keys
) -> QuantizedModel:
    """The INT8 model of a calibrator and a precision plan, as ``conf/calibrator`` and ``conf/plan``
    name them.

    ``keys`` may set their options, ``scheme``, ``weights`` and ``input_range``; what else there is
    belongs to ``calibrate``. Raises ConfigError, and DataError for a range that is not finite.
    """
    with _as_bench_errors():
        words = (
            *words_of([{"calibrator": calibrator, "plan": plan}]),
            *_only(words_of(keys), _OF_QUANTIZATION, "calibrate"),
        )
        run = calibration.run(words)
        if is_native(run.calibrator) or is_open(run):
            raise ConfigError(
                f"calibrator={calibrator} plan={plan} needs more than statistics",
                "Use run_once or sweep for it",
            )
        run_ranges = find_run_ranges(run)
        proto = insert(run, run_ranges)
    return QuantizedModel(proto, calibrator, plan, calibration, words, run_ranges)


def evaluate(quantized: QuantizedModel, *keys: Keys) -> Evaluation:
    """Measure the quantized model and its FP32 model on the validation images of ``dataset``.

    Detectors by COCO's mAP50-95, classifiers by Top-1; without labels (``dataset=images``) by
    agreement with FP32. ``keys`` may set ``dataset``, ``evaluation`` and ``engine``, if
    ``calibrate`` was not given them. Accuracy is that of the Q/DQ file computed exactly
    (``docs/explanation/arithmetic.md``), the interval that of ``docs/explanation/statistics.md``.

    Raises ConfigError, DataError, ModelError if the outputs do not fit the dataset's classes, and
    EngineError for what the engine refuses.
    """
    with _as_bench_errors():
        words = [*quantized.words, *_only(words_of(keys), _OF_EVALUATION, "calibrate or quantize")]
        _require_dataset([*quantized.calibration.words, *words], quantized.calibration.samples)
        run = quantized.calibration.run(words)
        run.check()
        if isinstance(run.engine, AotCompiler):
            raise ConfigError(
                f"engine {run.engine.name} only builds: it evaluates nothing",
                "Use engine=openvino or engine=onnxruntime",
            )
        network = run.model.network
        proto = with_batch(quantized.proto, network.input_name, run.measurement.batch_size)
        fp32, int8 = measure_accuracy(run, run.engine, int8_model(run, quantized.run_ranges, proto))
        metric = task_of(run).metric
    return Evaluation(metric, fp32.n_images, _alone(fp32), _alone(int8), compare(fp32, int8))


def run_once(*keys: Keys) -> Row:
    """One run, as ``python -m bench KEY=VALUE ...``: its row, stored under ``sweep.out``, with
    accuracy, latency and cost (``docs/reference/columns.md``).

    A run that was made before is not made again. An engine that refuses makes a row with
    ``status="skipped"`` and the reason in ``error``. ``sweep.race`` is for sweeps: a single run is
    evaluated to its end.
    """
    with _as_bench_errors(), Shared() as shared:
        words = words_of(keys)
        config = compose_typed(words)
        folder, run = Path(config.sweep.out), build_run(config, shared)
        if is_open(run):
            run, words, trail = choose_plan(run, words, shared, folder)
            write_atomically(SweepFolder(folder).plan_search(run.key), trail.to_bytes())
        return execute_once(run, RowStore(folder), shlex.join(words))


def sweep(*keys: Keys) -> pd.DataFrame:
    """Every combination of the values given, as ``int8bench sweep``: the table of ``sweep.out``,
    with one line per run (``docs/reference/columns.md``). The report is written too.

    A word may name several values, ``"calibrator=minmax,entropy2"``; a mapping gives one value per
    key. Runs that are in the folder are not made again, and stand in the table. Raises ConfigError
    if a run failed: the others are in the folder then, and the same call goes on. Not for several
    threads at once: Hydra reads ``sys.argv``.
    """
    with _as_bench_errors(), contextlib.redirect_stdout(io.StringIO()):
        [folder] = sweep_folders(words_of(keys))
        return read_table(folder)


def draw_report(
    folder: str | Path, max_loss: str | float | None = None, margin: str | float | None = None
) -> Path:
    """Draw the report of a sweep's folder from its table again; returns ``report.html``.

    ``max_loss`` is what may be lost of FP32, "1%" or 0.01; ``margin`` what counts as a tie. None
    leaves what the folder was drawn with. Raises DataError without a table, and ConfigError.
    """
    return redraw(Path(folder), max_loss, margin)


def _model_words(model: str | Path) -> list[str]:
    """A file is anything with its suffix, or a Path; else it is a name of ``conf/model``."""
    if isinstance(model, Path) or model.lower().endswith(".onnx"):
        return words_of([{"model": "custom", "model.path": str(model)}])
    return words_of([{"model": model}])


def _samples(
    words: Sequence[str], images: str | Path | Sequence[Image] | None, shared: Shared
) -> Samples | None:
    if images is None:
        return None
    if isinstance(images, (str, Path)):
        upright = _run(words, None, shared).dataset.task == "detection"
        return list_images(Path(images), "images", upright)
    return GivenPictures(images)


def _run(words: Sequence[str], samples: Samples | None, shared: Shared) -> Run:
    run = build_run(compose_typed(words), shared)
    return run if samples is None else replace(run, dataset=CalibratedOn(run.dataset, samples))


def _only(words: list[str], parts: Sequence[str], other: str) -> list[str]:
    """The words, if all are of these parts of the configuration."""
    for word in words:
        if key_of(word).partition(".")[0] not in parts:
            raise ConfigError(
                f"{key_of(word)} is not one of {', '.join(parts)}", f"Give it to {other}"
            )
    return words


def _require_dataset(words: Sequence[str], samples: Samples | None) -> None:
    """The embedded dataset, which stands where none is given, is not for a user's model."""
    keys = {key_of(word) for word in words}
    if "dataset" not in keys and ("model.path" in keys or samples is not None):
        raise ConfigError(
            "no labelled images are given to evaluate on",
            'Name them: evaluate(quantized, "dataset=coco", {"dataset.images": ...})',
        )


def _alone(score: Score) -> Interval:
    known = over_images(score.value, score.replicates, score.n_images, score.least_error)
    return known.interval(score.value)
