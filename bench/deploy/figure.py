"""``python -m bench.deploy.figure BUNDLE [KEY=VALUE ...]``: a bundle's accuracy, measured again.

The bundled Q/DQ file runs in the row's engine on the row's images; options change the run, such as
``engine=onnxruntime`` or where the images lie.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.calibration.native import NativeCalibrator
from bench.calibration.trt_cache import from_json
from bench.cli.compose import build_typed
from bench.cli.messages import command
from bench.engine.base import AotCompiler, Int8Model
from bench.errors import ConfigError, DataError
from bench.evaluation.task import compare
from bench.model.onnx_file import read_proto
from bench.run.measure import measure_accuracy

_SAID = ("overrides", "metric", "int8", "fp32", "ci_low")
"""What is needed of the row."""
_COPY = "Copy the whole bundle again"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 1: the figure is outside the row's interval; 2: it cannot be measured."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments:
        raise ConfigError("no bundle is named", "python -m bench.deploy.figure BUNDLE")
    line, confirmed = measure_figure(Path(arguments[0]), arguments[1:])
    print(line)
    return 0 if confirmed else 1


def measure_figure(bundle: Path, overrides: Sequence[str]) -> tuple[str, bool]:
    """What was measured, in one line, and whether it is what the row promises.

    On the same images the same engine in the same version, with the same kernels or emulation,
    gives the row's value to the last digit. Elsewhere the loss against FP32 must not lie beyond the
    row's interval. Where this processor's INT8 kernels are not exact, the emulation is measured;
    ``engine.accuracy_by=kernels`` measures the kernels.
    """
    row = _read_row(bundle / "bundle.json")
    run = build_typed([*shlex.split(row["overrides"]), *overrides])
    if isinstance(run.engine, AotCompiler):
        raise ConfigError(f"engine {run.engine.name} only builds", "Add engine=onnxruntime")
    ranges = from_json((bundle / "dynamic_ranges.json").read_bytes(), "dynamic_ranges.json")
    model = Int8Model(
        read_proto(bundle / "model.qdq.onnx"),
        read_proto(bundle / "model.fp32.onnx"),
        ranges,
        frozenset(_read_json(bundle / "float_layers.json")),
        run.calibrator.header if isinstance(run.calibrator, NativeCalibrator) else None,
    )
    fp32, int8 = measure_accuracy(run, run.engine, model)
    found = compare(fp32, int8)
    line = (
        f"{row['metric']} in {run.engine.name} {run.engine.version} ({run.accuracy_by}) on "
        f"{int8.n_images} images: "
        f"{int8.value!r}, FP32 {fp32.value!r}; the row's: {row['int8']!r}, {row['fp32']!r}"
    )
    if row["ci_low"] is not None and found.estimate < row["ci_low"]:
        return f"{line}: the loss is beyond the row's interval", False
    return line, True


def _read_row(path: Path) -> dict[str, Any]:
    """What the bundle says of its row; DataError for a file of something else."""
    content = _read_json(path)
    row = content.get("row") if isinstance(content, dict) else None
    try:
        shlex.split(row["overrides"])  # type: ignore[index]
        return {name: row[name] for name in _SAID}  # type: ignore[index]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} does not say which row it is of ({error})", _COPY) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error})", _COPY) from error


if __name__ == "__main__":
    sys.exit(main())
