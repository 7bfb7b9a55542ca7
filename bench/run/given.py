"""What files of other tools set for a run: ranges, a whole quantized model, or a built engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.calibration.engine_file import EngineFile
from bench.calibration.quantized_file import QuantizedFile
from bench.calibration.ranges_file import RangesFile
from bench.engine.base import Loading, Session
from bench.errors import ConfigError, DataError
from bench.model.edit import with_batch
from bench.model.quantized import QuantizedOnnx, load_quantized
from bench.quantization.given_points import GivenPoints, check_same_input, match_given
from bench.quantization.grid import Range
from bench.quantization.plan import place
from bench.run.spec import Run


def check_given(run: Run) -> None:
    """Raise ModelError or DataError for a file that does not fit the run's model, before anything
    is computed."""
    if isinstance(run.calibrator, RangesFile):
        stored_ranges(run, run.calibrator)
    elif isinstance(run.calibrator, QuantizedFile):
        given_points(run, run.calibrator)
    elif isinstance(run.calibrator, EngineFile):
        load_engine(run, run.calibrator).close()


def load_engine(run: Run, file: EngineFile) -> Session:
    """The engine in a file, ready to run the run's batches; ModelError if it was not built from the
    run's model, or cannot be loaded here."""
    if not isinstance(run.engine, Loading):
        raise ConfigError(
            f"engine {run.engine.name} cannot load a serialized engine", "Use engine=tensorrt"
        )
    network, graph = run.model.network, run.graph
    shapes = {name: graph.shape(name) for name in (network.input_name, *network.output_names)}
    fixed = with_batch(network.proto, network.input_name, run.measurement.batch_size)
    return run.engine.load(Path(file.path), fixed, shapes)


def quantized_model(run: Run, file: QuantizedFile) -> QuantizedOnnx:
    """The file, read once for the runs of a sweep; ModelError for what is not a quantized model."""
    return run.shared.once("quantized file", file, lambda: load_quantized(Path(file.path)))


def given_points(run: Run, file: QuantizedFile) -> GivenPoints:
    """Where the file has Q/DQ, in the names of the run's model; ModelError if it is not made from
    that."""
    quantized = quantized_model(run, file)
    check_same_input(quantized, run.model.network)
    return match_given(quantized, run.graph)


def stored_ranges(run: Run, file: RangesFile) -> Mapping[str, Range]:
    """The file's ranges of the tensors that the run's plan quantizes; DataError if it has none.

    The network's input takes the declared range where the run is set to that.
    """
    everything = place(run.plan, run.placement, run.graph).sources
    stored: dict[str, Range] = {
        name: amax for name, amax in file.ranges.items() if name in everything
    }
    if not stored:
        raise DataError(
            f"{file.path} has ranges of {len(file.ranges)} tensors, but of none that the plan "
            f"quantizes ({', '.join(list(everything)[:2])} ...)",
            "Give the file that was computed from this ONNX file",
        )
    name = run.model.network.input_name
    if run.calibration.input_range == "declared" and name in stored:
        stored[name] = run.model.preprocess.input_amax()
    return stored
