"""Weights from a model's package: fetched by it, and converted to ONNX, in a new process.

A separate process, since PyTorch's memory and threads would affect the row of the next run
(Ultralytics also sets OMP_NUM_THREADS for everything after its import). It runs this module:
``python -m bench.model.export PACKAGE WEIGHTS SIZE FILE``.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.environment import of_child
from bench.errors import ConfigError, ModelError

LICENCES = {
    "ultralytics": "AGPL-3.0, code and weights",
    "torchvision": "BSD-3-Clause; its weights come from ImageNet, which is for research",
}
"""The packages (also the names of our extras), and their licences."""

OPSET = 17
_PATIENCE = 1800.0  # seconds, for the download and the conversion


@dataclass(frozen=True)
class Export:
    """``weights`` as the package calls them ('yolov8n.pt', 'resnet50.IMAGENET1K_V2'), and ``size``,
    the side of the input."""

    package: str
    weights: str
    size: int

    def __post_init__(self) -> None:
        if self.package not in LICENCES:
            raise ConfigError(
                f"export.package={self.package} is unknown", f"Use {' or '.join(LICENCES)}"
            )
        if not re.fullmatch(r"\w[\w.-]*", self.weights):  # a path may lead to anybody's pickle
            raise ConfigError(
                f"export.weights={self.weights} is not a name of weights in {self.package}",
                "Use a name such as yolov8n.pt; for your file use model.path=FILE.onnx",
            )

    @property
    def file_name(self) -> str:
        return f"{self.package}-{self.weights.removesuffix('.pt')}-{self.size}.onnx"

    @property
    def extra(self) -> str:
        """How to have it done."""
        return (
            f"pip install -e '.[{self.package}]' ({LICENCES[self.package]}) to have it fetched and "
            "exported"
        )

    @property
    def is_possible(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


def run_export(wanted: Export, target: Path, fix: str) -> None:
    """Make ``target``, after a line on stderr that names the licence.

    Raises ModelError, whose line ends with ``fix``.
    """
    print(
        f"{wanted.package} ({LICENCES[wanted.package]}) fetches {wanted.weights} and exports it to "
        f"{target}; this may take minutes",
        file=sys.stderr,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
        made = Path(folder) / "exported.onnx"
        given = (wanted.package, wanted.weights, str(wanted.size), made.name)
        failed = _run([sys.executable, "-m", "bench.model.export", *given], Path(folder))
        if not failed and not made.is_file():
            failed = "it wrote no file"
        if failed:
            raise ModelError(
                f"{wanted.package} could not export {wanted.weights} ({failed.rstrip('.')})", fix
            )
        made.replace(target)


def _run(command: list[str], folder: Path) -> str:
    """Run in ``folder``, where packages may write files; returns the last line of a failure."""
    # Otherwise Ultralytics would install missing packages.
    environment = of_child(Path(__file__).parents[2], YOLO_AUTOINSTALL="false")
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, timeout=_PATIENCE, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it did not finish in {_PATIENCE / 60:.0f} minutes"
    if ended.returncode == 0:
        return ""
    said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    return said[-1] if said else f"it ended with status {ended.returncode}"


def _by_ultralytics(weights: str, size: int, target: Path) -> None:
    from ultralytics import YOLO

    # Without ``simplify``: onnxslim is not needed. With a fixed batch: an open batch would open
    # height and width too. ``nms=False`` keeps YOLOv10's head that needs no suppression (by 8.4.190
    # the default None exports the other one, 1 x 84 x 8400) and means nothing to the rest.
    made = YOLO(weights).export(
        format="onnx", imgsz=size, opset=OPSET, simplify=False, dynamic=False, nms=False,
        device="cpu",
    )  # fmt: skip
    Path(made).replace(target)


def _by_torchvision(weights: str, size: int, target: Path) -> None:
    import torch
    import torchvision

    name, _, version = weights.partition(".")
    network = torchvision.models.get_model(name, weights=version or None).eval()
    torch.onnx.export(
        network, (torch.zeros(1, 3, size, size),), str(target), opset_version=OPSET,
        input_names=["images"], output_names=["logits"], dynamo=False,
        dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
    )  # fmt: skip


def _main() -> None:
    package, weights, size, target = sys.argv[1:]
    convert = {"ultralytics": _by_ultralytics, "torchvision": _by_torchvision}[package]
    try:
        convert(weights, int(size), Path(target))
    except Exception as error:  # whatever the packages raise becomes one line
        raise SystemExit(" ".join(f"{type(error).__name__}: {error}".split())) from error


if __name__ == "__main__":
    _main()
