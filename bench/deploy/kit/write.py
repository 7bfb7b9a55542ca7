"""A kit: what a machine that will never have this package needs to measure rows of a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache import content_key, write_atomically
from bench.calibration.native import Algorithm
from bench.deploy.bundle import calibration_images, require_printable
from bench.deploy.choose import rebuild_run
from bench.deploy.kit.jobs import list_jobs
from bench.deploy.kit.pixels import write_images
from bench.deploy.kit.plan_files import GROUPED_BY, check, describe, group_rows
from bench.deploy.kit.readme import kit_page
from bench.deploy.kit.reduction import describe_reduction
from bench.deploy.kit.rows import KitRow
from bench.deploy.kit.runner_text import runner_source
from bench.deploy.runner.files import KIT_VERSION
from bench.deploy.target import new_folder
from bench.model.half import to_half
from bench.results.folder import SweepFolder
from bench.results.row import Row
from bench.run.measure import fp32_model, validation_images
from bench.run.shared import Shared
from bench.run.spec import Run
from bench.sealed import to_sealed_json


def write_kit(
    rows: Sequence[Row],
    sweep: Path,
    target: Path,
    native: Sequence[Algorithm],
    say: Callable[[str], None],
    fp16: bool = False,
) -> Mapping[str, int]:
    """Fill ``target``, all of it or nothing; the bytes of its parts.

    ``native``: TensorRT's own calibrators to ask there, which see the calibration images of the
    largest set. ``fp16``: with the model in FP16, as TensorRT 11 has no flag for it. The sweep's
    folder keeps what the kit was made of, so that nothing that comes back has to be believed.
    Raises ConfigError if ``target`` exists.
    """
    with new_folder(target) as folder:
        facts = _fill(folder, rows, sweep, native, say, fp16)
    write_atomically(SweepFolder(sweep).kit(facts["id"]), to_sealed_json(facts))
    return sizes(target)


def sizes(kit: Path) -> dict[str, int]:
    """Bytes of the kit's parts: models with all rows' values and caches, images, and the rest."""
    found = {"models": 0, "images": 0, "other": 0}
    for path in kit.rglob("*"):
        if path.is_file() and path.relative_to(kit).parts[0] not in ("results", "work"):
            part = path.relative_to(kit).parts[0]
            kind = {"models": "models", "rows": "models", "images": "images"}.get(part, "other")
            found[kind] += path.stat().st_size
    return found


class _Folder:
    """The kit while it is filled: every file with its checksum."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, content: bytes) -> str:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(content)
        self.files[name] = {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        return name


def _fill(
    path: Path,
    rows: Sequence[Row],
    sweep: Path,
    native: Sequence[Algorithm],
    say: Callable[[str], None],
    fp16: bool,
) -> dict[str, Any]:
    folder = _Folder(path)
    with Shared() as shared:
        every = [KitRow(row, rebuild_run(row, shared), sweep) for row in rows]
        largest = max(every, key=lambda own: own.row.calibration_size).run
        say(f"{len(every)} rows: Q/DQ files")
        plans, described = _models(folder, every)
        say("images")
        fp32 = fp32_model(every[0].run)
        facts = {
            "kit": KIT_VERSION,
            "sweep": str(sweep),
            **_network(every[0].run),
            "fp32": folder.add("models/fp32.onnx", fp32.SerializeToString(deterministic=True)),
            "fp16": folder.add(
                "models/fp16.onnx", to_half(fp32).SerializeToString(deterministic=True)
            )
            if fp16
            else "",
            "plans": plans,
            "rows": described,
            "images": _images(folder, every[0].run, largest if native else None),
            "calibrated_as": largest.key,
            "jobs": list_jobs(rows, native),
        }
    runner = runner_source()
    (path / "run.py").write_text(runner)
    facts["files"] = folder.files
    facts["id"] = content_key(_to_json(facts), runner)
    (path / "kit.json").write_bytes(_to_json(facts))
    (path / "README.md").write_text(kit_page(facts, rows, sizes(path)))
    return facts


def _models(folder: _Folder, rows: Sequence[KitRow]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plans' files, and of each row which one it belongs to and what differs."""
    plans: dict[str, Any] = {}
    described: dict[str, Any] = {}
    by_key = {own.row.run_key: own for own in rows}
    asked = [
        (key, tuple(str(getattr(own.row, name)) for name in GROUPED_BY), own.make_qdq)
        for key, own in by_key.items()
    ]
    for number, (base, sums) in enumerate(group_rows(asked)):
        name = folder.add(f"models/qdq-{number}.onnx", base.content)
        facts, packed = describe(base)
        check(base, {**facts, "packed": packed}, sums)
        plans[name] = {
            **facts,
            "skeleton": folder.add(f"models/qdq-{number}.tensorrt8.skeleton", packed),
        }
        for key in base.differences:
            described[key] = _row(folder, by_key[key], name, base.values(key), sums[key])
    return plans, described


def _row(
    folder: _Folder, own: KitRow, plan_file: str, values: bytes, sums: Mapping[str, str]
) -> dict[str, Any]:
    key = own.row.run_key
    require_printable([*own.ranges, *own.in_float], "tensor or layer")
    cache = own.cache
    name = f"rows/{sha256(cache).hexdigest()[:16]}.cache"  # plans share their ranges
    images = "\n".join(calibration_images(own.run)) + "\n"
    listed = f"rows/{sha256(images.encode()).hexdigest()[:16]}.images.txt"
    return {
        "plan_file": plan_file,
        "values": folder.add(f"rows/{key}.values", values),
        "sha256": dict(sums),
        "cache": folder.add(name, cache),
        "calibration_images": folder.add(listed, images.encode()),
        "implicit": own.implicit,
        "products": sorted(own.products),
        "in_float": {node: list(outputs) for node, outputs in own.in_float.items()},
    }


def _network(run: Run) -> dict[str, Any]:
    network, preprocess = run.model.network, run.model.preprocess
    batch = run.measurement.batch_size
    shapes = [run.graph.shape(name) for name in network.output_names]
    return {
        "model": run.model.name,
        "model_sha256": network.sha256,
        "dataset": run.dataset.name,
        "dataset_fingerprint": run.dataset.validation.fingerprint,
        "validation_indices": list(run.validation_indices),
        "input": {
            "name": network.input_name,
            "shape": [batch, 3, network.height, network.width],
            "channels": [0, 1, 2] if preprocess.color == "rgb" else [2, 1, 0],
            "lookup": _lookup(run),
        },
        "outputs": list(network.output_names),
        "reduction": describe_reduction(run.model.head, shapes),
    }


def _lookup(run: Run) -> list[list[float]]:
    """What each of the 256 values of a pixel becomes in each plane of the input, in float32."""
    preprocess = replace(run.model.preprocess, color="rgb")
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 1, 256, 3)
    planes = preprocess.normalise(ramp)[0, :, 0, :]
    return [[float(value) for value in plane] for plane in planes]


def _images(folder: _Folder, run: Run, calibrated: Run | None) -> dict[str, Any]:
    prepared = validation_images(run)
    evaluation = (prepared.pixels[index] for index in range(len(prepared)))
    found = {"evaluation": _listed(folder, "evaluation", evaluation)}
    if calibrated is not None:
        found["calibration"] = _listed(folder, "calibration", _calibration_pixels(calibrated))
    return found


def _calibration_pixels(run: Run) -> Iterable[npt.NDArray[np.uint8]]:
    preprocess, samples = run.calibration_preprocess, run.dataset.calibration
    for index in run.calibration_order[: run.calibration.size].tolist():
        yield preprocess.place(samples.image(index), seed=index)[0]


def _listed(folder: _Folder, which: str, images: Iterable[npt.NDArray[np.uint8]]) -> dict[str, Any]:
    pixels = write_images(folder.path, which, images)
    return {"count": len(pixels), "pixels": pixels}


def _to_json(facts: Mapping[str, Any]) -> bytes:
    return (json.dumps(facts, separators=(",", ":"), sort_keys=True) + "\n").encode()
