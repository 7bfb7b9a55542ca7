"""The peer's side of the comparison: ONNX Runtime's ``quantize_static``, one file at a time.

Its options are the best for it that its documentation knows (onnxruntime 1.23):

- QDQ, signed 8 bits for activations and weights ("should be the first choice"), symmetric, weights
  per channel: what our files are.
- Only the operator types that our explicit placement quantizes. Its calibrater observes inputs and
  outputs of these alone; by default it would observe every activation. Their outputs get no Q/DQ
  of their own (``OpTypesToExcludeOutputQuantization``): ours do not either.
- ``quant_pre_process`` before, as it asks for, once for all files and on nobody's clock. Symbolic
  shape inference, meant for transformers, is left out: it fails on YOLOv8.
- ``CalibPercentile`` as ours, 99.99.
- ``CalibMaxIntermediateOutputs`` is left out: 1.23 forgets the images instead of merging them
  (pull request 20226), and it only concerns MinMax, which keeps two numbers a tensor anyway.
- ``CalibStridedMinMax`` is documented for MinMax, but makes any calibrater go through the images in
  chunks: memory stays bounded. The ranges of Entropy and Percentile are others then (see
  ``tests/calibration/test_parity_onnxruntime.py``). So it is measured besides: ``chunk``.
"""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from tests.benchmarks.scenes import Scenes

METHODS = ("MinMax", "Entropy", "Percentile")
EXTRA_OPTIONS: dict[str, Any] = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "CalibTensorRangeSymmetric": True,
    "CalibPercentile": 99.99,
}


def pre_process(path: Path, output: Path) -> None:
    """What ``quantize_static`` asks for before it is called."""
    quant_pre_process(path, output, skip_symbolic_shape=True)


def quantize_one(
    path: Path,
    input_name: str,
    scenes: Scenes,
    size: int,
    method: str,
    operators: list[str],
    output: Path,
    chunk: int | None,
) -> None:
    """One quantized file: one calibrator, one number of images."""
    logging.disable(logging.WARNING)
    options = EXTRA_OPTIONS | {"OpTypesToExcludeOutputQuantization": operators}
    with contextlib.redirect_stdout(io.StringIO()):  # it tells every step
        quantize_static(
            path,
            output,
            Reader(input_name, scenes, size),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
            extra_options=options | ({"CalibStridedMinMax": chunk} if chunk else {}),
        )


class Reader(CalibrationDataReader):
    """Gives the images one by one; ``set_range`` is asked for by ``CalibStridedMinMax``."""

    def __init__(self, input_name: str, scenes: Scenes, size: int) -> None:
        self._input_name, self._scenes, self._size = input_name, scenes, size
        self._rest = iter(range(size))

    def __len__(self) -> int:
        return self._size

    def set_range(self, start_index: int, end_index: int) -> None:
        self._rest = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        index = next(self._rest, None)
        return None if index is None else {self._input_name: self._scenes(index)}
