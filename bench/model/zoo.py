"""Which file holds a model's weights: the user's own, one carried here, or one to be put."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError, ModelError

CARRIED = Path(__file__).parent / "weights"
_CARRIED_PREFIX = "carried:"


@dataclass(frozen=True)
class Weights:
    """A file, and one phrase that tells a reader where it came from."""

    path: Path
    origin: str


def find_weights(model: str, dataset: str, path: str | None, files: dict[str, str]) -> Weights:
    """The file to use for ``model`` on ``dataset``; never another one in its stead.

    ``path`` is the user's own file and goes first. ``files`` maps dataset to a file: 'carried:NAME'
    lies in the package, any other name under ``$BENCH_MODELS`` (default ``models/``). Raises
    ConfigError if there are no weights for the dataset, ModelError if the file is not there.
    """
    if path:
        return Weights(Path(path), f"file {path}")
    if dataset not in files:
        known = ", ".join(sorted(files)) or "none"
        raise ConfigError(
            f"model {model} has no weights for dataset {dataset} (it has them for: {known})",
            "Give model.path=FILE.onnx",
        )
    name = files[dataset]
    if name.startswith(_CARRIED_PREFIX):
        file = CARRIED / name.removeprefix(_CARRIED_PREFIX)
        if not file.is_file():
            raise ModelError(
                f"the {dataset} weights of {model}, {file}, are missing",
                f"Fetch the project again, or train them: python scripts/train_shapes.py {model}",
            )
        return Weights(file, f"carried for {dataset} ({file.name})")
    file = Path(os.environ.get("BENCH_MODELS", "models")) / name
    if not file.is_file():
        carried = [name for name, f in files.items() if f.startswith(_CARRIED_PREFIX)]
        instead = f", or use dataset={carried[0]}, whose weights are carried" if carried else ""
        raise ModelError(
            f"the {dataset} weights of {model} are not at {file}",
            f"Export them to ONNX and put the file there, give model.path=FILE.onnx{instead}",
        )
    return Weights(file, f"file {file}")
