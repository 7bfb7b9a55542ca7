"""How far the best confidence threshold moved, and whether FP32's threshold still works."""

from __future__ import annotations

from dataclasses import dataclass

from bench.claims.judgements import Record
from bench.evaluation.estimate import Interval
from bench.report.wording import interval, known, signed

_COLUMNS = (
    "f1_threshold_fp32", "f1_threshold_int8", "f1_fp32", "f1_int8", "f1_int8_at_fp32_threshold",
)  # fmt: skip


@dataclass(frozen=True)
class ConfidenceShift:
    """The thresholds of the best F1, and INT8's F1 at both.

    ``change`` is INT8's F1 at FP32's threshold minus INT8's F1 at its best threshold. ``loss`` is
    INT8's F1 at FP32's threshold minus FP32's F1. Each has its interval.
    """

    threshold_fp32: float
    threshold_int8: float
    f1_fp32: float
    f1_int8: float
    f1_at_fp32_threshold: float
    change: Interval
    loss: Interval

    @property
    def real(self) -> bool:
        """Whether FP32's threshold is proven to lose against INT8's best threshold."""
        return self.change.high < 0

    @property
    def sentence(self) -> str:
        """First the loss of a user who changes nothing, then what another threshold recovers."""
        sure = ""
        if self.loss.known:
            kind = (
                "a real loss" if self.loss.high < 0
                else "a real gain" if self.loss.low > 0
                else "no loss is proven"
            )  # fmt: skip
            sure = f", 95 % interval {interval(*self.loss.ends)}: {kind}"
        anew = (
            "changing to it is proven to help" if self.real
            else "it is not proven that changing to it helps"
        )  # fmt: skip
        lost = f"{signed(self.loss.estimate)}{sure}"
        return (
            f"At FP32's best confidence threshold ({self.threshold_fp32:.2f}), F1 is "
            f"{self.f1_fp32:.3f} in FP32 and {self.f1_at_fp32_threshold:.3f} in INT8 ({lost}). "
            f"INT8's best threshold is {self.threshold_int8:.2f} (F1 {self.f1_int8:.3f}); {anew} "
            f"(F1 at FP32's threshold minus F1 at INT8's, on images not used to choose them: "
            f"{interval(*self.change.ends)})."
        )


def shift_of(row: Record) -> ConfidenceShift | None:
    """The shift of a tidy row; None for a classifier, and for older rows without it."""
    if any(known(row[name]) is None for name in _COLUMNS):
        return None
    fp32, int8, f1_fp32, f1_int8, unchanged = (float(row[name]) for name in _COLUMNS)
    change, loss = (
        Interval(unchanged - than, float(row[f"{name}_ci_low"]), float(row[f"{name}_ci_high"]))
        for name, than in (("f1_threshold_loss", f1_int8), ("f1_loss", f1_fp32))
    )
    return ConfidenceShift(fp32, int8, f1_fp32, f1_int8, unchanged, change, loss)
