"""The images of every measurement: scenes of ``shapes`` as a network's input.

What calibration costs does not depend on what the pictures show, so any detector gets them. This
module imports little: it is loaded on both sides of the comparison of memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.data.preprocess import Preprocess
from bench.data.shapes import draw_scene, split_seed

FEW = 8
"""So many scenes, repeated, where memory is measured: then the images themselves never grow."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Calling it with i gives input i, 1 x 3 x height x width, normalised at every call.

    ``pixels`` N x height x width x 3 uint8 are fitted already; they repeat after N.
    """

    preprocess: Preprocess
    pixels: npt.NDArray[np.uint8]

    def __call__(self, index: int) -> npt.NDArray[np.float32]:
        return self.preprocess.normalise(self.pixels[index % len(self.pixels)][None])


def draw_scenes(size: tuple[int, int], count: int) -> Scenes:
    """``count`` different scenes, letterboxed into height and width."""
    preprocess = Preprocess(size)
    seeds = (split_seed("calibration", index) for index in range(count))
    return Scenes(
        preprocess, np.stack([preprocess.place(draw_scene(seed).image)[0] for seed in seeds])
    )
