"""Picture files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil


@pytest.fixture(scope="session")
def write_picture() -> Callable[..., np.ndarray]:
    """Write a picture of noise, of any suffix, and give its pixels as they were before."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (12, 16)) -> np.ndarray:
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Pil.fromarray(pixels).save(path)
        return pixels

    return write
