"""Choose the best rule for every tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from bench.calibration.calibrator import Calibrator, after_fusion, is_native
from bench.calibration.quantization_error import quantization_error
from bench.calibration.statistics import Snapshot
from bench.errors import ConfigError

Criterion = Literal["local", "output"]
"""Which error decides: the tensor's, or that of the network's outputs."""


@dataclass(frozen=True, eq=False)
class PerTensor:
    """Of several rules' thresholds, for each tensor the one with the least squared error.

    ``rules`` maps names, such as "percentile_99_9", to calibrators. With ``criterion="local"`` the
    error is that of the tensor itself on the symmetric INT8 grid, clipping and rounding together
    (``quantization_error``; under scheme=asymmetric too). With ``criterion="output"`` a tensor
    takes the rule with which the layers that read it add the least noise to the network's outputs:
    ``bench.run.rule_choice`` runs them, and this class chooses only for tensors that none reads.
    Among equal errors the largest threshold wins, which clips least; of
    equal thresholds the first rule is named.

    AMD Quark's LayerwisePercentile does the same with percentiles alone (quark.docs.amd.com, "ONNX,
    LayerwisePercentile": by default 99.99, 99.999 and 99.9999, compared by their mean absolute or
    squared error). NVIDIA's pytorch-quantization and ModelOpt search the least squared error of a
    tensor over all bins of its histogram. That is the rule ``mse``, so with it among the rules this
    is nearly ``mse``: 28 of 29 tensors of resnet18 and 62 of 65 of yolov8n take it (16 calibration
    images), the others one whose threshold is better by less than ``mse`` resolves. Without it
    there is a choice: of the 65, 42 take percentile 99.99, 12 99.999, 8 entropy2 and 3 minmax.

    Raises ConfigError without a rule, and for one that looks after layer fusion (it leaves tensors
    without a range), is a calibrator of TensorRT itself (it has no threshold here) or chooses among
    rules. And for any other ``criterion``.
    """

    rules: Mapping[str, Calibrator]
    criterion: Criterion = "local"
    name: ClassVar[str] = "per_tensor"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", dict(self.rules))
        if self.criterion not in get_args(Criterion):
            raise ConfigError(
                f"calibrator.criterion={self.criterion} is unknown", "Use local or output"
            )
        if not self.rules:
            raise ConfigError("calibrator.rules has no rule to choose from", "Keep at least one")
        for label, rule in self.rules.items():
            if fault := _fault(rule):
                raise ConfigError(
                    f"calibrator.rules.{label}: {rule.name} {fault}",
                    f"Drop it: ~calibrator.rules.{label}",
                )

    @property
    def params(self) -> str:
        """The criterion, and every rule with its parameters."""
        rules = [_in_words(label, rule) for label, rule in self.rules.items()]
        return "; ".join([f"criterion={self.criterion}", *rules])

    def candidates(self, snapshot: Snapshot) -> dict[str, float]:
        """The threshold of each rule, in the tensor's unit, by the rule's name."""
        return {label: rule.amax(snapshot) for label, rule in self.rules.items()}

    def choose(self, snapshot: Snapshot, candidates: Mapping[str, float] | None = None) -> str:
        """The name of the rule that this tensor takes.

        ``candidates`` are the thresholds of the rules where they are known already.
        """
        known = self.candidates(snapshot) if candidates is None else candidates
        if snapshot.amax == 0:  # of zeros, or nothing, every threshold is 0
            return next(iter(known))
        errors = {amax: quantization_error(snapshot, amax).total for amax in set(known.values())}
        return min(known, key=lambda label: (errors[known[label]], -known[label]))

    def amax(self, snapshot: Snapshot) -> float:
        """The threshold of the chosen rule."""
        known = self.candidates(snapshot)
        return known[self.choose(snapshot, known)]


def _fault(rule: Calibrator) -> str:
    """Why this cannot be one of the rules, or ""."""
    if is_native(rule):
        return "runs inside TensorRT"
    if after_fusion(rule):
        return "works after layer fusion, but per_tensor works before it"
    return "chooses among rules itself" if isinstance(rule, PerTensor) else ""


def _in_words(label: str, rule: Calibrator) -> str:
    """
    >>> from bench.calibration.minmax import MinMax
    >>> _in_words("minmax", MinMax()), _in_words("widest", MinMax())
    ('minmax', 'widest: minmax')
    """
    words = " ".join(filter(None, ["" if rule.name == label else rule.name, rule.params]))
    return f"{label}: {words}" if words else label
