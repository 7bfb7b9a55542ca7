"""Check this bundle on the machine where it is deployed: ``python verify.py``.

It needs numpy and ONNX Runtime, nothing else: every file must have its checksum, and the Q/DQ model
must give the outputs that it gave where the bundle was made. An engine of TensorRT needs neither:
let trtexec write its outputs (README.md has the command) and name the files, ``--outputs``.
``--figure`` measures the accuracy again, with the int8-calibration-bench package and the labelled
images. Exit status 0: all is well; 1: something is not.

This file is copied into every bundle, so it imports nothing of the package that wrote it, and runs
in the Pythons of older deployments too (3.8).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class VerificationError(Exception):
    """What is wrong, as one line."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    bundle = Path(__file__).resolve().parent
    checks: list[Callable[[], str]] = [lambda: check_sums(bundle)]
    if options.outputs:
        checks.append(lambda: compare(bundle, read_trtexec(options.outputs), "the engine"))
    else:
        checks.append(lambda: compare(bundle, run_onnx(bundle, exact=True), "model.qdq.onnx"))
    if options.figure is not None:
        checks.append(lambda: measure(bundle, options.figure))
    if not all(_tell(check) for check in checks):  # nothing is run after a failure
        return 1
    if not options.outputs:
        print(f"note    {look_at_kernels(bundle)}", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Check this bundle where it is deployed.")
    parser.add_argument(
        "--outputs",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="what trtexec --exportOutput wrote of samples/batch-0.bin, batch-1.bin ...",
    )
    parser.add_argument(
        "--figure",
        nargs="*",
        metavar="KEY=VALUE",
        help="measure the accuracy again; options such as engine=onnxruntime change the run",
    )
    return parser


def _tell(check: Callable[[], str]) -> bool:
    try:
        print(f"ok      {check()}", flush=True)
        return True
    except (VerificationError, OSError) as error:
        print(f"FAILED  {error}", flush=True)
        return False
    except Exception as error:  # whatever files that are not those of a bundle lead to
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        print(f"FAILED  a file is not as it was made ({said}). Copy the folder again", flush=True)
        return False


def check_sums(bundle: Path) -> str:
    """Every file against SHA256SUMS, as ``sha256sum --check`` would."""
    lines = (bundle / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        expected, _, name = line.partition("  ")
        path = bundle / name
        if not path.is_file():
            raise VerificationError(f"{name} is missing. Copy the whole folder again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise VerificationError(
                f"{name} is not the file that was bundled. Copy the folder again"
            )
    return f"{len(lines)} files have their checksums"


def look_at_kernels(bundle: Path) -> str:
    """Whether ONNX Runtime's int8 kernels agree too: they do not where they saturate.

    That says nothing against the bundle, which another engine may run.
    """
    try:
        return compare(bundle, run_onnx(bundle, exact=False), "ONNX Runtime's int8 kernels")
    except VerificationError as error:
        return (
            f"{error}. In ONNX Runtime on this machine, run model.qdq.onnx with the session "
            "configuration session.disable_quant_qdq=1"
        )


def run_onnx(bundle: Path, exact: bool) -> Sequence[dict[str, Any]]:
    """What ONNX Runtime makes of the sample batches: the outputs by name, of each.

    ``exact``: in float, as the file is written; otherwise with its int8 kernels.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise VerificationError(
            f"ONNX Runtime is not here ({error}). Run: pip install onnxruntime, "
            "or check an engine with --outputs"
        ) from error
    try:
        options = ort.SessionOptions()
        if exact:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        session = ort.InferenceSession(
            str(bundle / "model.qdq.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return [_run(session, batch) for batch in _batches(bundle)]
    except Exception as error:  # ONNX Runtime's own exceptions share no other base
        reason = str(error).splitlines()[0]
        raise VerificationError(f"ONNX Runtime cannot run model.qdq.onnx ({reason})") from error


def _batches(bundle: Path) -> Iterator[npt.NDArray[np.float32]]:
    facts = _facts(bundle)
    for index in range(facts["samples"]["batches"]):
        flat = np.fromfile(bundle / "samples" / f"batch-{index}.bin", "<f4")
        yield flat.reshape(facts["input"]["shape"])


def _run(session: Any, batch: npt.NDArray[np.float32]) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {session.get_inputs()[0].name: batch})
    return dict(zip(names, found))


def read_trtexec(files: Sequence[Path]) -> Sequence[dict[str, Any]]:
    """What ``trtexec --exportOutput`` wrote: name, dimensions such as 1x84x8400, and values."""
    found = []
    for file in files:
        try:
            tensors = json.loads(file.read_text())
            found.append({t["name"]: np.array(t["values"], np.float64) for t in tensors})
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            raise VerificationError(
                f"{file} is nothing that trtexec --exportOutput writes"
            ) from error
    return found


def compare(bundle: Path, found: Sequence[dict[str, Any]], what: str) -> str:
    """The outputs against those kept, in dB: 10 log10(signal / noise), the worst output counts."""
    samples = _facts(bundle)["samples"]
    if len(found) != samples["batches"]:
        raise VerificationError(f"{len(found)} batches of outputs, {samples['batches']} expected")
    worst = math.inf
    with np.load(bundle / "samples" / "outputs.npz") as kept:
        for name in samples["outputs"]:
            signal = noise = 0.0
            for index, outputs in enumerate(found):
                expected = kept[f"{name}:{index}"].astype(np.float64).ravel()
                if name not in outputs or outputs[name].size != expected.size:
                    raise VerificationError(
                        f"{what} has no output '{name}' of {expected.size} values"
                    )
                signal += float(np.square(expected).sum())
                noise += float(np.square(expected - outputs[name].ravel()).sum())
            worst = min(worst, _decibels(signal, noise))
    if worst == math.inf:
        return f"{what}: outputs are exactly the expected ones"
    told = f"{what}: outputs agree with the expected ones by {worst:.1f} dB"
    if not worst >= samples["tolerance_db"]:
        raise VerificationError(f"{told}; {samples['tolerance_db']:.1f} dB or more are required")
    return f"{told} ({samples['tolerance_db']:.1f} or more are required)"


def _decibels(signal: float, noise: float) -> float:
    if not math.isfinite(noise):
        return -math.inf
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def measure(bundle: Path, overrides: Sequence[str]) -> str:
    """The accuracy, in a process of its own: only there the package is imported."""
    if importlib.util.find_spec("bench") is None:
        raise VerificationError(
            "--figure needs the package that made this bundle. Install it, or leave it out"
        )
    command = [sys.executable, "-m", "bench.deploy.figure", str(bundle), *overrides]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = (ended.stdout or ended.stderr).strip().splitlines()
        raise VerificationError(said[-1] if said else f"it ended with status {ended.returncode}")
    return ended.stdout.strip()


def _facts(bundle: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((bundle / "bundle.json").read_text())
    return facts


if __name__ == "__main__":
    sys.exit(main())
