"""One measured row as the report speaks of it: how far from FP32, how sure, how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bench.report.seeds import SeedSpread, seed_spread
from bench.report.wording import SAME_SPEED, interval, known, plain, plural


@dataclass(frozen=True)
class Difference:
    """From FP32, with its 95 % interval, and in words."""

    delta: float
    ci_low: float | None
    ci_high: float | None

    @property
    def change(self) -> str:
        """The difference in words: "loses 0.004"."""
        amount = f"{abs(self.delta):.3f}"
        return f"{'gains' if self.delta > 0 else 'loses'} {amount}" if float(amount) else "loses no"

    @property
    def interval(self) -> str:
        return interval(self.ci_low, self.ci_high)


@dataclass(frozen=True)
class Half(Difference):
    """The same engine in FP16; ``speedup`` is that of INT8 over it."""

    value: float
    speedup: float | None

    @property
    def pays(self) -> str:
        """What INT8 gives beyond it, in words."""
        if self.speedup is None:
            return "no latency was measured"
        if self.speedup >= SAME_SPEED:
            return f"INT8 is {self.speedup:.2f}x as fast"
        return f"INT8 is no faster ({self.speedup:.2f}x)"


@dataclass(frozen=True)
class Kernels(Difference):
    """What the engine's int8 kernels reach on this processor, where the accuracy is not theirs."""

    value: float


@dataclass(frozen=True)
class Result(Difference):
    """One measured row, as the answer speaks of it."""

    run_key: str
    rule: str
    setting: str
    size: int
    seed: str
    fp32: float | None
    int8: float | None
    latency_ms: float | None
    graph_ms: float | None
    speedup: float | None
    latency_note: str
    overrides: str = ""
    files: tuple[str, ...] = ()
    spread: SeedSpread | None = None
    fp16: Half | None = None
    kernels: Kernels | None = None

    @property
    def name(self) -> str:
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.rule}, {plural(self.size, 'calibration image')}{seed}, plan {self.setting}"

    @property
    def relative(self) -> float | None:
        """The difference as a share of FP32; negative is a loss."""
        return self.delta / self.fp32 if self.fp32 else None

    @property
    def command(self) -> str:
        """What makes this run alone; empty where nothing tells what was typed."""
        return f"python -m bench {self.overrides}" if self.overrides else ""

    @property
    def verdict(self) -> str:
        """What the interval allows to say about the loss."""
        if self.ci_low is None or self.ci_high is None:
            return "no interval: the difference may be noise"
        if self.loses:
            return "the interval excludes zero: a real loss"
        if self.ci_low > 0:
            return "the interval excludes zero: a real gain"
        return "the interval includes zero: no loss is proven"

    @property
    def loses(self) -> bool:
        """Whether the interval proves a loss."""
        return self.ci_high is not None and self.ci_high < 0

    def ties_with(self, least: Result) -> bool:
        """Whether this loss may be no larger than the least; a missing interval counts as none."""
        below = least.delta - (least.delta if least.ci_low is None else least.ci_low)
        above = (self.delta if self.ci_high is None else self.ci_high) - self.delta
        return least.delta - self.delta <= math.hypot(below, above)


def read_result(row: pd.Series, rows: pd.DataFrame) -> Result:
    """A row of the tidy, measured ``rows`` of its group."""
    latency, seeds = known(row["int8_ms"]), rows["calibration_seed"].nunique() > 1
    rule, setting, size = str(row["rule"]), str(row["setting"]), int(row["calibration_size"])
    return Result(
        run_key=str(row["run_key"]),
        rule=rule,
        setting=setting,
        size=size,
        seed=plain(row["calibration_seed"]) if seeds else "",
        fp32=known(row["fp32"]),
        int8=known(row["int8"]),
        delta=float(row["delta"]),
        ci_low=known(row["ci_low"]),
        ci_high=known(row["ci_high"]),
        latency_ms=latency,
        graph_ms=known(row["graph_ms"]),
        speedup=known(row["speedup"]),
        latency_note=str(row["latency_note"]),
        overrides=str(row["overrides"]),
        files=_files(row),
        spread=seed_spread(rows, rule, setting, size),
        fp16=_half(row),
        kernels=_kernels(row),
    )


def _half(row: pd.Series) -> Half | None:
    value, delta = known(row["fp16"]), known(row["fp16_delta"])
    if value is None or delta is None:
        return None
    low, high, speedup = (
        known(row[name]) for name in ("fp16_ci_low", "fp16_ci_high", "speedup_fp16")
    )
    return Half(delta, low, high, value, speedup)


def _kernels(row: pd.Series) -> Kernels | None:
    value, delta = known(row["kernels_int8"]), known(row["kernels_delta"])
    if value is None or delta is None:
        return None
    low, high = (known(row[name]) for name in ("kernels_ci_low", "kernels_ci_high"))
    return Kernels(delta, low, high, value)


def _files(row: pd.Series) -> tuple[str, ...]:
    """What the sweep's folder keeps of a run; an older one has no ranges, or no layers."""
    ranges = ["ranges"] * bool(row["statistics_key"])
    layers = ["layers"] * (known(row["int8_unmet"]) is not None)
    folders = ["rows", *ranges, *layers]
    return tuple(f"{folder}/{row['run_key']}.json" for folder in folders)
