"""The calibration images as the network takes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.cache import content_key
from bench.data.prepared import network_input, pixel_makers
from bench.errors import ConfigError
from bench.run.spec import Run


def inputs_key(run: Run) -> str:
    """Changes with everything that can change the inputs made of the calibration images."""
    return content_key(run.calibration_images, run.calibration_preprocess, pixel_makers())


def calibration_image(run: Run) -> Callable[[int], npt.NDArray[np.float32]]:
    """A function that returns image number i of the calibration set, (1, 3, height, width), as the
    network takes it."""
    order, preprocess = run.calibration_order, run.calibration_preprocess

    def image(index: int) -> npt.NDArray[np.float32]:
        return network_input(run.dataset.calibration, int(order[index]), preprocess)

    return image


def check_batch(run: Run, feature: str) -> None:
    """Raise ConfigError for a model whose batch is not 1; ``feature`` is named in the message."""
    batch = run.model.network.input_shape[0]
    if batch not in (None, 1):
        raise ConfigError(
            f"model {run.model.name} has a fixed batch of {batch}, but {feature} needs one "
            "image at a time",
            "Export the model with an open batch, or a batch of 1",
        )
