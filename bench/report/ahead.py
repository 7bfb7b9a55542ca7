"""What was built ahead of time from the Q/DQ file of a measured configuration, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.claims.judgements import Record
from bench.report.wording import known, plural


@dataclass(frozen=True)
class BuiltBeside:
    """A sentence about the engine built beside a measured one ("" if there is none), and the
    builder's reason if it refused."""

    sentence: str = ""
    refusal: str = ""


def find_built(runs: Sequence[Record], group: Sequence[Record]) -> BuiltBeside:
    """The sentence for the tidy, measured ``runs`` of one configuration of ``group``."""
    row = next((run for run in runs if run["builder"]), None)
    if row is None:
        return BuiltBeside()
    builder = f"{row['builder']} {row['builder_version']}"
    gpus = _gpus(str(row["compute_capability"]))
    if row["builder_error"]:
        alike = sum(other["builder_error"] == row["builder_error"] for other in group) - 1
        others = f", as in {plural(alike, 'other run')}" if alike else ""
        reason = str(row["builder_error"]).rstrip(".")
        return BuiltBeside(
            f"{builder} refused to build an engine of this configuration for {gpus}{others}: "
            f"{reason}.",
            str(row["builder_error"]),
        )
    size, seconds = known(row["engine_bytes"]), known(row["engine_build_s"])
    if size is None:
        return BuiltBeside()
    took = "" if seconds is None else f" in {seconds:.1f} s"
    return BuiltBeside(
        f"{builder} also built an engine of this configuration{took}, for {gpus}: "
        f"{_megabytes(size)}{_against(row)}; it was not run: {_whose(row)}."
    )


def _gpus(capability: str) -> str:
    """
    >>> _gpus("SM89"), _gpus("SM120")
    ('GPUs of compute capability 8.9 (SM89)', 'GPUs of compute capability 12.0 (SM120)')
    """
    digits = capability.removeprefix("SM")
    version = f"{digits[:-1]}.{digits[-1:]}"
    return f"GPUs of compute capability {version} ({capability})"


def _against(row: Record) -> str:
    sizes = [
        f"{_megabytes(size)} in {name}"
        for name in ("FP32", "FP16")
        if (size := known(row[f"{name.lower()}_engine_bytes"])) is not None
    ]
    return f", against {' and '.join(sizes)}" if sizes else ""


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _whose(row: Record) -> str:
    """Which engine the numbers of the row come from instead."""
    if row["accuracy_by"] == "exact emulation":
        return f"the accuracy comes from the Q/DQ file, the latency from {row['engine']}"
    return f"accuracy and latency come from {row['engine']}"
