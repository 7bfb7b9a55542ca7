"""Which file holds a model's weights, searched in this order:

1. ``model.path``, the user's file;
2. for a dataset whose weights are in the package: those;
3. ``$BENCH_MODELS/FILE`` (default ``models/``) with the name the model's YAML gives, such as
   ``yolov8n_coco.onnx``; for a dataset that it does not list, MODEL_DATASET.onnx;
4. ``$BENCH_MODELS/MODEL.onnx``, such as ``yolov8n.onnx``;
5. what was downloaded or exported before, under the cache;
6. a download, where the YAML has address and hash;
7. an export through the model's package, where that is installed; its licence is shown first.

If none of them exists, the error is one line. One dataset's file is never used for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cache import only_one
from bench.download import Download, fetch
from bench.errors import ConfigError, ModelError
from bench.model.export import LICENCES, Export, run_export

CARRIED = Path(__file__).parent / "weights"
_CARRIED_PREFIX = "carried:"


@dataclass(frozen=True)
class Source:
    """Where the weights for one dataset come from; ``file`` 'carried:NAME' lies in the package."""

    file: str
    download: Download | None = None
    export: Export | None = None

    @property
    def carried(self) -> str:
        """The file's name in the package, if it is there."""
        name = self.file.removeprefix(_CARRIED_PREFIX)
        return name if name != self.file else ""


@dataclass(frozen=True)
class Weights:
    """A file, and a phrase that says where it came from."""

    path: Path
    origin: str


@dataclass(frozen=True)
class Request:
    """Which weights are wanted: of ``model`` for ``dataset``, or the user's file at ``path``.

    ``sources`` are those of each dataset, ``models`` is where a user puts files, and under
    ``cache`` lies what was fetched.
    """

    model: str
    dataset: str
    path: str | None
    sources: Mapping[str, Source]
    models: Path
    cache: Path

    @property
    def source(self) -> Source:
        return self.sources.get(self.dataset, Source(f"{self.model}_{self.dataset}.onnx"))

    @property
    def usual_path(self) -> Path:
        """Where the user puts the file."""
        return self.models / self.source.file


def check_weights(request: Request) -> None:
    """Raise the errors of ``find_weights`` that are known without fetching anything."""
    _locate(request)


def find_weights(request: Request) -> Weights:
    """The file to use, fetched if need be.

    Raises ConfigError if there are no weights for the dataset, ModelError or DownloadError if they
    cannot be had.
    """
    weights, missing = _locate(request)
    if missing:
        fix = f"Put the file at {request.usual_path}, {_instead(request.sources)}"
        _fetch(missing, weights.path, fix)
    return weights


def _locate(request: Request) -> tuple[Weights, Source | None]:
    """The file, and what it is to be fetched from if it is not there yet."""
    model, dataset, sources = request.model, request.dataset, request.sources
    if request.path:
        return Weights(Path(request.path), f"file {request.path}"), None
    source = request.source
    if source.carried:
        return _carried(model, dataset, source.carried), None
    for file in (request.usual_path, request.models / f"{model}.onnx"):
        if file.is_file():
            return Weights(file, f"file {file}"), None
    if dataset not in sources:
        known = ", ".join(sorted(sources)) or "none"
        raise ConfigError(
            f"model {model} has no weights for dataset {dataset} (only for: {known})",
            f"Give model.path=FILE.onnx, or put the file at {request.usual_path}",
        )
    fetched = _fetched(source, request.cache / "models")
    if fetched is None:
        raise ModelError(
            f"the {dataset} weights of {model} are not at {request.usual_path}",
            f"Export them to ONNX and put the file there, {_instead(sources)}",
        )
    return fetched, None if fetched.path.is_file() else source


def _carried(model: str, dataset: str, name: str) -> Weights:
    file = CARRIED / name
    if not file.is_file():
        raise ModelError(
            f"the {dataset} weights of {model}, {file}, are missing",
            f"Fetch the project again, or train them: python scripts/train_shapes.py {model}",
        )
    return Weights(file, f"carried for {dataset} ({file.name})")


def _fetched(source: Source, folder: Path) -> Weights | None:
    """The path of a fetched file, named after what it depends on; None without a source."""
    stem, export = Path(source.file).stem, source.export
    if source.download:
        file = folder / f"{stem}-{source.download.version}.onnx"
        return Weights(file, f"downloaded from {source.download.url}")
    if export is None:
        return None
    made = folder / f"{stem}-{export.file_name}"
    if not made.is_file() and not export.is_possible:
        return None
    how = f"{export.package} ({LICENCES[export.package]})"
    return Weights(made, f"{export.weights} exported by {how}")


def _fetch(source: Source, target: Path, fix: str) -> None:
    """Parallel runs wait for the one that fetches."""
    with only_one(target.with_name(f".{target.name}.lock")):
        if target.is_file():
            return
        if source.download:
            fetch(source.download, target, fix)
        elif source.export:
            run_export(source.export, target, fix)


def _instead(sources: Mapping[str, Source]) -> str:
    """What else a user can do."""
    packages = {s.export.package: s.export for s in sources.values() if s.export}
    extras = [export.extra for export in packages.values() if not export.is_possible]
    carried = [dataset for dataset, source in sources.items() if source.carried]
    embedded = f"dataset={carried[0]}" if carried else "model=yolov8n dataset=shapes"
    ways = ["give model.path=FILE.onnx", *extras]
    return f"{', '.join(ways)}, or use {embedded}, whose weights are carried"
