"""The picture of what a calibrator leaves of the network's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from scripts.clipped_input import main, quantized
from tests.e2e.command import Bench

SMALL = ["dataset.validation_images=6", "dataset.calibration_images=6", "calibration.size=4"]


def test_int8_rounds_to_the_scale_and_saturates() -> None:
    image = np.array([0.0, 0.002, 0.3, 0.5, 1.0], np.float32).reshape(1, 1, 5)
    found = quantized(image, 0.5).ravel()
    step = 0.5 / 127
    np.testing.assert_allclose(found, [0.0, step, 76 * step, 0.5, 0.5], rtol=1e-6)


@pytest.mark.slow
def test_a_sweep_of_both_calibrators_gives_the_picture(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("--multirun", "model=yolov8n", *SMALL, "calibrator=minmax,entropy2").status == 0
    out = tmp_path / "picture.png"
    assert main([str(bench.out), "--out", str(out)]) == 0
    assert imread(out).shape[1] > 1000
    assert main([str(bench.out), "--image", "6", "--out", str(out)]) == 2
    assert "--image 6 is unknown. There are 0 to 5" in capsys.readouterr().err
    assert main([str(bench.out), "--rules", "mse", "entropy2"]) == 2
    said = capsys.readouterr().err
    assert "no range of the network's input by mse. There is minmax, entropy2" in said
    table = bench.out / "table.csv"
    pd.read_csv(table).assign(model_sha256="0" * 64).to_csv(table, index=False)
    (bench.out / "checksums.json").unlink()
    assert main([str(bench.out)]) == 2
    assert "gives another model now. Run the sweep again" in capsys.readouterr().err
