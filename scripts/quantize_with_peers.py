"""Quantize a model with other tools, from exactly the inputs that a run of ours calibrates with.

The tools need an environment of their own, so there are steps::

    python scripts/quantize_with_peers.py inputs OUT KEY=VALUE ...   # with this project installed
    python scripts/quantize_with_peers.py quantize OUT [NAME ...]    # with the tools installed
    int8bench judge OUT/*.onnx KEY=VALUE ... sweep.out=FOLDER        # with this project installed
    python scripts/quantize_with_peers.py table FOLDER ... > peers.csv

``inputs`` takes the keys of a run (model=, dataset=, calibration.size= ...) and writes
``OUT/inputs.npy`` (n, 3, height, width) float32 and ``OUT/fp32.onnx``. ``quantize`` writes one file
per tool and method, with the tool's defaults but for the method's name, and says which failed.
``table`` writes what ``judge`` measured in several folders as one CSV.

``NAME@16`` quantizes with the first 16 images: ONNX Runtime's Entropy and Percentile need memory
for every image (24 GB were not enough for 128 images of 640x640).

Tools: ``onnxruntime`` (``quantize_static``), ``nvidia-modelopt[onnx]``, ``nncf`` and ``amd-quark``
(with ``torch``), each if it is installed. ``nncf_accuracy_control`` measures mAP or Top-1 as this
project does, on the labelled calibration images of ``plan=auto``, and needs both in one
environment. It prints how often it measured, and on how many images.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

RUN = "run.txt"
"""The words of the run behind the inputs."""

CONTROL_IMAGES = 192
"""The default of ``plan=auto``."""


def write_inputs(out: Path, words: Sequence[str]) -> None:
    """The calibration images of the run that these words compose, and its FP32 file."""
    from bench.cli.compose import build_typed
    from bench.run.inputs import calibration_image

    run = build_typed(list(words))
    run.check()
    image = calibration_image(run)
    network = run.model.network
    out.mkdir(parents=True, exist_ok=True)
    inputs = np.lib.format.open_memmap(
        out / "inputs.npy", "w+", np.float32,
        (run.calibration.size, 3, network.height, network.width),
    )  # fmt: skip
    for index in range(run.calibration.size):
        inputs[index] = image(index)[0]
    inputs.flush()
    shutil.copyfile(network.path, out / "fp32.onnx")
    (out / RUN).write_text(shlex.join(words))


class Reader:
    """The inputs, one image at a time, as ONNX Runtime's calibrators ask for them."""

    def __init__(self, name: str, inputs: np.ndarray[Any, Any]) -> None:
        self._name, self._inputs = name, inputs
        self.rewind()

    def rewind(self) -> None:
        self._left: Iterator[Any] = iter(self._inputs)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._left, None)
        return None if image is None else {self._name: np.ascontiguousarray(image[None])}


def with_onnxruntime(
    method: str, **options: Any
) -> Callable[[Path, Path, np.ndarray[Any, Any]], None]:
    """``quantize_static`` after its own ``quant_pre_process``, as its documentation asks."""

    def quantize(fp32: Path, out: Path, inputs: np.ndarray[Any, Any]) -> None:
        import onnxruntime.quantization as q
        from onnxruntime.quantization.shape_inference import quant_pre_process

        prepared = out.with_suffix(".prepared")
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
        given = dict(options)
        if given.pop("operators", False):
            given["quant_format"] = q.QuantFormat.QOperator
        q.quantize_static(
            str(prepared), str(out), Reader(input_name(fp32), inputs),
            calibrate_method=getattr(q.CalibrationMethod, method), **given,
        )  # fmt: skip
        prepared.unlink()

    return quantize


def with_modelopt(method: str) -> Callable[[Path, Path, np.ndarray[Any, Any]], None]:
    """ModelOpt's ONNX path; what stays in float is FP32, so that INT8 alone is compared."""

    def quantize(fp32: Path, out: Path, inputs: np.ndarray[Any, Any]) -> None:
        from modelopt.onnx.quantization import quantize as modelopt_quantize

        modelopt_quantize(
            str(fp32), quantize_mode="int8", calibration_data=np.asarray(inputs),
            calibration_method=method, output_path=str(out), high_precision_dtype="fp32",
            calibration_eps=["cpu"],
        )  # fmt: skip

    return quantize


def with_nncf(**options: Any) -> Callable[[Path, Path, np.ndarray[Any, Any]], None]:
    """NNCF's post-training quantization of an ONNX file."""

    def quantize(fp32: Path, out: Path, inputs: np.ndarray[Any, Any]) -> None:
        import nncf
        import onnx

        given = dict(options)
        if given.pop("mixed", False):
            given["preset"] = nncf.QuantizationPreset.MIXED
        name = input_name(fp32)
        data = nncf.Dataset(inputs, lambda image: {name: np.ascontiguousarray(image[None])})
        size = len(inputs)
        model = nncf.quantize(onnx.load(fp32), data, subset_size=size, **given)
        onnx.save(model, out)

    return quantize


def with_accuracy_control(fp32: Path, out: Path, inputs: np.ndarray[Any, Any]) -> None:
    """NNCF's layers back to float until the metric has lost at most 0.01 (its default, and that of
    ``plan=auto``), on the images that ``plan=auto`` measures on."""
    import nncf
    import onnx

    from bench.cli.compose import build_typed
    from bench.data.search_images import SearchImages
    from bench.engine.base import Session
    from bench.engine.onnxrt import OnnxRuntime
    from bench.model.edit import with_batch
    from bench.run.calibration_accuracy import on_calibration_images
    from bench.run.measure import task_of, validation_images

    words = shlex.split((out.parent / RUN).read_text())
    run = on_calibration_images(build_typed(words), CONTROL_IMAGES, "accuracy control")
    images, task, name = validation_images(run), task_of(run), run.model.network.input_name
    counted = {"measurements": 0, "images": 0}
    built: list[tuple[onnx.ModelProto, Session]] = []

    def task_of_images(chosen: Sequence[int]) -> Any:
        """NNCF also measures single images, to rank the layers."""
        every = run.dataset
        assert isinstance(every, SearchImages)
        part = SearchImages(every.dataset, tuple(every.indices[index] for index in chosen))
        return task_of(replace(run, dataset=part))

    def measure(model: onnx.ModelProto, indices: Iterable[int]) -> tuple[float, None]:
        chosen = list(indices)
        counted["measurements"] += 1
        counted["images"] += len(chosen)
        if not built or built[-1][0] is not model:
            built[:] = [(model, OnnxRuntime().build_exact(with_batch(model, name, 1)))]
        session = built[-1][1]
        predictions = []
        for index in chosen:
            outputs = [output[0] for output in session.run(images.batch(index, 1))]
            predictions.append(task.predict(outputs, images.fittings[index]))
        return task_of_images(chosen).score(predictions).value, None

    name_of_input = input_name(fp32)
    data = nncf.Dataset(inputs, lambda image: {name_of_input: np.ascontiguousarray(image[None])})
    truth = nncf.Dataset(range(len(images)), lambda index: {name: images.batch(index, 1)})
    model = nncf.quantize_with_accuracy_control(
        onnx.load(fp32), data, truth, measure, subset_size=len(inputs)
    )
    onnx.save(model, out)
    print(f"accuracy control: {counted}", flush=True)


def with_quark(config: str) -> Callable[[Path, Path, np.ndarray[Any, Any]], None]:
    """AMD Quark's ONNX quantizer, with one of its configurations by name."""

    def quantize(fp32: Path, out: Path, inputs: np.ndarray[Any, Any]) -> None:
        import quark.onnx as quark

        quantizer = quark.ModelQuantizer(quark.QConfig.get_default_config(config))
        quantizer.quantize_model(str(fp32), str(out), Reader(input_name(fp32), inputs))

    return quantize


PEERS: dict[str, Callable[[Path, Path, np.ndarray[Any, Any]], None]] = {
    "onnxruntime_minmax": with_onnxruntime("MinMax"),
    "onnxruntime_entropy": with_onnxruntime("Entropy"),
    "onnxruntime_percentile": with_onnxruntime("Percentile"),
    "onnxruntime_minmax_per_channel": with_onnxruntime("MinMax", per_channel=True),
    "onnxruntime_minmax_qoperator": with_onnxruntime("MinMax", operators=True),
    "modelopt_max": with_modelopt("max"),
    "modelopt_entropy": with_modelopt("entropy"),
    "nncf_performance": with_nncf(),
    "nncf_mixed": with_nncf(mixed=True),
    "nncf_accuracy_control": with_accuracy_control,
    "quark_a8w8": with_quark("A8W8"),
    "quark_xint8": with_quark("XINT8"),
}


def input_name(fp32: Path) -> str:
    import onnx

    graph = onnx.load(fp32, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    return next(value.name for value in graph.input if value.name not in weights)


def quantize(out: Path, names: Sequence[str]) -> int:
    """Every peer named, or all; returns how many failed."""
    out = out.resolve()
    inputs = np.load(out / "inputs.npy", mmap_mode="r")
    failed = 0
    os.chdir(tempfile.mkdtemp())  # some tools leave files where they run
    for asked in names or PEERS:
        name, _, count = asked.partition("@")
        label = f"{name}_{count}" if count else name
        file, start = out / f"{label}.onnx", time.perf_counter()
        try:
            PEERS[name](out / "fp32.onnx", file, inputs[: int(count or len(inputs))])
        except Exception as error:  # a tool may fail in any way: the others go on
            failed += 1
            print(f"{label}: failed ({type(error).__name__}: {str(error)[:300]})", flush=True)
        else:
            print(f"{label}: {time.perf_counter() - start:.0f} s", flush=True)
    return failed


def write_table(folders: Sequence[Path]) -> None:
    """One line per file: what it loses, and how far it is from the best row of ours there."""
    import csv

    from bench.claims.judgements import records_of
    from bench.cli.compose import build_typed
    from bench.report.judged import judge_files
    from bench.results.store import RowStore

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(
        ["model", "dataset", "images", "calibration_images", "file", "metric", "fp32", "int8",
         "delta", "ci_low", "ci_high", "int8_mac_share", "our_best", "our_int8", "minus_our_best",
         "minus_low", "minus_high", "note"]
    )  # fmt: skip
    for folder in folders:
        rows = {str(row["run_key"]): row for row in records_of(RowStore(folder).table())}
        theirs = [key for key, row in rows.items() if row["plan"] == "file"]
        ours = [key for key, row in rows.items() if row["plan"] != "file"]
        run = build_typed(shlex.split(str(rows[ours[0]]["overrides"])))
        comparison = judge_files(folder, theirs, ours, run.model.network.output_names)
        for key, file in zip(theirs, comparison.files, strict=True):
            row = rows[key]
            if file.loss is None or file.behind is None or file.best_int8 is None:
                continue
            loss, behind = file.loss, file.behind
            numbers = [loss.estimate, loss.low, loss.high, file.mac_share, file.best_int8,
                       behind.estimate, behind.low, behind.high]  # fmt: skip
            delta, low, high, share, best, *minus = [f"{n:.4f}" for n in numbers]
            writer.writerow(
                [row["model"], row["dataset"], row["n_images"], row["calibration_size"],
                 file.label, comparison.metric, f"{row['fp32']:.4f}", f"{file.int8:.4f}",
                 delta, low, high, share, file.best, best, *minus, file.note]
            )  # fmt: skip


if __name__ == "__main__":
    step, folder, *rest = sys.argv[1:]
    if step == "table":
        write_table([Path(folder), *map(Path, rest)])
    elif step == "inputs":
        write_inputs(Path(folder), rest)
    else:
        sys.exit(1 if quantize(Path(folder), rest) else 0)
