"""The folder that goes to the machine where the model is deployed."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from bench.cache import hash_file
from bench.calibration.trt_cache import from_ranges, to_json
from bench.deploy.artefact import Artefact, make_artefact
from bench.deploy.readme import readme_templates
from bench.deploy.samples import BundleSamples, make_samples
from bench.deploy.target import new_folder
from bench.engine.base import calibrates
from bench.engine.trt.float_weights import with_float_weights
from bench.engine.trt.rtx import TensorRtRtx
from bench.errors import ConfigError
from bench.evaluation.task import save_arrays
from bench.report.caveats import CLIPPED
from bench.results.row import Row, columns_with
from bench.run.spec import Run

SCRIPTS = ("verify.py", "build_engine.py")
CACHE_VERSION, CACHE_ALGORITHM = "8.5.1", "EntropyCalibration2"
"""What the cache's first line names: trtexec always reads a cache as that calibrator's."""

Files = Mapping[str, bytes]


def write_bundle(
    row: Row, run: Run, sweep: Path, target: Path, builders: Sequence[TensorRtRtx]
) -> None:
    """Fill ``target``, all of it or nothing; raises ConfigError if it exists."""
    images = calibration_images(run)
    require_printable(images, "calibration image")
    artefact = make_artefact(run, sweep)
    require_printable([*artefact.ranges, *run.model.network.output_names], "tensor")
    require_printable(artefact.float_layers, "layer")
    samples = make_samples(run, artefact.qdq)
    engines = {
        f"engine-{builder.compute_capability}.plan": builder.compile_int8(artefact.qdq).content
        for builder in builders
    }
    facts = _facts(row, run, artefact, samples)
    content = {
        **_models(artefact),
        **_packed(samples, run),
        **{name: (files("bench.deploy") / name).read_bytes() for name in SCRIPTS},
        **engines,
        "calibration_images.txt": _lines(images),
        "bundle.json": (json.dumps(facts, indent=1) + "\n").encode(),
    }
    content["README.md"] = _readme(facts, builders).encode()
    _write(target, content)


def calibration_images(run: Run) -> list[str]:
    """Names of the calibration set's images, in order; ``calibration.list`` reads such a file."""
    names, order = run.dataset.calibration.names, run.calibration_order
    return [names[index] for index in order[: run.calibration.size].tolist()]


def _models(artefact: Artefact) -> Files:
    cache = from_ranges(artefact.ranges, CACHE_VERSION, CACHE_ALGORITHM)
    precisions = ",".join(f"{name}:fp32" for name in artefact.float_layers)
    return {
        "model.qdq.onnx": artefact.qdq.SerializeToString(deterministic=True),
        "model.qdq.tensorrt8.onnx": with_float_weights(artefact.qdq).SerializeToString(
            deterministic=True
        ),
        "model.fp32.onnx": artefact.fp32.SerializeToString(deterministic=True),
        "dynamic_ranges.json": to_json(artefact.ranges).encode(),
        "calibration.cache": cache.to_bytes(),
        "float_layers.json": (json.dumps(artefact.float_layers, indent=1) + "\n").encode(),
        "layer_precisions.txt": f"{precisions}\n".encode(),
    }


def _packed(samples: BundleSamples, run: Run) -> Files:
    kept = {
        f"{name}:{index}": output
        for index, outputs in enumerate(samples.outputs)
        for name, output in zip(run.model.network.output_names, outputs, strict=True)
    }
    buffer = io.BytesIO()
    save_arrays(buffer, kept)
    batches = {
        f"samples/batch-{index}.bin": np.ascontiguousarray(batch, "<f4").tobytes()
        for index, batch in enumerate(samples.batches)
    }
    return {**batches, "samples/outputs.npz": buffer.getvalue()}


def _facts(row: Row, run: Run, artefact: Artefact, samples: BundleSamples) -> dict[str, Any]:
    """What ``bundle.json`` says; the page is made of it too."""
    network, preprocess = run.model.network, run.model.preprocess
    low, high = preprocess.input_range()
    return {
        "bundle": 1,
        "row": {name: getattr(row, name) for name in columns_with("bundle")},
        "implicit": calibrates(run.engine),
        "half": bool(getattr(run.engine, "half", False)),
        "input": {
            "name": network.input_name,
            "shape": [run.measurement.batch_size, 3, network.height, network.width],
            "low": low,
            "high": high,
            "amax": row.input_amax,
            "declared_amax": preprocess.input_amax(),
            "preprocess": asdict(preprocess),
        },
        "float_layers": len(artefact.float_layers),
        "awkward_names": any(set(name) & set(",:") for name in artefact.float_layers),
        "tensors": len(artefact.ranges),
        "samples": {
            "batches": len(samples.batches),
            "outputs": list(network.output_names),
            "tolerance_db": samples.tolerance_db,
        },
    }


def _readme(facts: Mapping[str, Any], builders: Sequence[TensorRtRtx]) -> str:
    environment = readme_templates("bench.deploy")
    environment.filters |= {"shell": in_shell, "code": in_markdown, "python": json.dumps}
    capabilities = [builder.compute_capability for builder in builders]
    page = environment.get_template("README.md.j2")
    return page.render(
        facts,
        capabilities=capabilities,
        clipped=CLIPPED,
        command=shlex.join(shlex.split(facts["row"]["overrides"])),
    )


def require_printable(names: Iterable[str], what: str) -> None:
    """Raise ConfigError for a name that no page and no line of a file can hold, such as one with a
    line break."""
    for name in names:
        if not name.isprintable():
            raise ConfigError(
                f"a {what} is called {name!r}, which has characters that cannot be printed",
                "Rename it, and sweep again",
            )


def in_shell(text: str) -> str:
    """One word of a shell's command, whatever is in it."""
    return f'"{text}"' if re.fullmatch(r"[\w./:' -]*", text, re.ASCII) else shlex.quote(text)


def in_markdown(text: str) -> str:
    """Code in a line of Markdown, whatever is in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{text}{fence}" if len(fence) == 1 else f"{fence} {text} {fence}"


def _write(target: Path, content: Files) -> None:
    with new_folder(target) as folder:
        for name, data in content.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        sums = [f"{hash_file(folder / name)}  {name}" for name in sorted(content)]
        (folder / "SHA256SUMS").write_bytes(_lines(sums))


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
