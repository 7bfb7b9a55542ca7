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

import onnx

from bench.calibration.native import NativeCalibrator
from bench.calibration.trt_cache import from_json
from bench.cli.compose import build_typed
from bench.cli.messages import command
from bench.engine.base import AotCompiler, Int8Model
from bench.errors import ConfigError
from bench.evaluation.task import compare
from bench.run.measure import measure_accuracy


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
    row = json.loads((bundle / "bundle.json").read_text())["row"]
    run = build_typed([*shlex.split(row["overrides"]), *overrides])
    if isinstance(run.engine, AotCompiler):
        raise ConfigError(f"engine {run.engine.name} only builds", "Add engine=onnxruntime")
    ranges = from_json((bundle / "dynamic_ranges.json").read_bytes(), "dynamic_ranges.json")
    model = Int8Model(
        onnx.load(bundle / "model.qdq.onnx"),
        onnx.load(bundle / "model.fp32.onnx"),
        ranges,
        frozenset(json.loads((bundle / "float_layers.json").read_text())),
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


if __name__ == "__main__":
    sys.exit(main())
