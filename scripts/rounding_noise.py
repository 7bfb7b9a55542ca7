"""How far rounding alone moves an accuracy: ``python scripts/rounding_noise.py KEY=VALUE ...``.

The run's Q/DQ file is computed exactly, and then several times with every activation scale moved by
a millionth of itself. Two libraries or processors differ by about as much. A smaller difference of
accuracy is not meaningful. The options are those of ``python -m bench``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from anywhere, installed or not

from bench.cli.compose import build_typed
from bench.cli.messages import command
from bench.errors import ConfigError
from bench.run.rounding import rounded_accuracies


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[2])
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="as of python -m bench")
    parser.add_argument("--copies", type=int, default=8, help="nudged copies (default: 8)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="add the values to this table")
    options = parser.parse_args(arguments)
    if options.copies < 2:
        raise ConfigError(f"--copies={options.copies} is below 2", "Use 2 or more")
    run = build_typed(["sweep.out=results/rounding-noise", *options.overrides])
    run.check()
    values = rounded_accuracies(run, options.copies)
    if not values:
        raise ConfigError("the engine computes nothing exactly", "Use engine=openvino")
    table = pd.DataFrame(
        {
            "model": run.model.name,
            "dataset": run.dataset.name,
            "calibrator": run.calibrator.name,
            "calibration_size": run.calibration.size,
            "plan": run.plan.name,
            "n_images": run.n_images,
            "copy": range(len(values)),  # 0: as it is
            "int8": values,
        }
    )
    if options.csv:
        before = pd.read_csv(options.csv) if options.csv.exists() else table[:0]
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        both = table if before.empty else pd.concat([before, table])
        both.to_csv(options.csv, index=False, float_format="%.6f")
    spread = np.std(values, ddof=1)
    print(
        f"{run.model.name} on {run.dataset.name}, {run.calibrator.name}, plan {run.plan.name}: "
        f"{values[0]:.4f} as it is; nudged {min(values[1:]):.4f} to {max(values[1:]):.4f}, "
        f"standard deviation {spread:.4f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
