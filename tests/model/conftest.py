"""What the comparisons with other packages share."""

from __future__ import annotations

import pytest


@pytest.fixture
def torchvision_works() -> None:
    """Skips where torchvision's own operators are missing: it is then built for another torch."""
    try:
        import torch
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not work here ({error}); CONTRIBUTING.md tells the mend")
