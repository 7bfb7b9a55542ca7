"""Our ``resize_crop`` against torchvision's own evaluation transforms, on pictures made here.

Both resize with Pillow, which always smooths when it shrinks (torchvision's ``antialias`` is for
tensors only), round a crop's corner alike, and then normalise; what is left is float32 rounding.
torchvision resizing tensors instead of pictures would be off by a grey level or two: not compared.
Runs where ``pip install -e '.[torchvision]'`` was done.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pil

from bench.cli.heads import given_options, head_named
from bench.data.preprocess import make_preprocess
from tests.composing import composed

try:
    import torchvision
except (ImportError, RuntimeError) as error:  # the latter from one built for another torch
    pytest.skip(f"needs the extra 'torchvision' ({error})", allow_module_level=True)

ROUNDING = 2e-6
MODELS = ["resnet18", "resnet50", "mobilenetv2", "efficientnet_b0"]


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (640, 427), (256, 256), (231, 900)])
@pytest.mark.parametrize("model", MODELS)
def test_the_same_tensor(model: str, size: tuple[int, int]) -> None:
    weights = composed(f"model={model}").model.weights["imagefolder"]
    name, version = weights.export.weights.split(".")
    transforms = getattr(torchvision.models.get_model_weights(name), version).transforms()
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    theirs = transforms(Pil.fromarray(picture)).numpy()

    convention = head_named("classifier").convention
    side = weights.export.size
    preprocess = make_preprocess((side, side), **convention | given_options(weights.preprocess))
    fitted, _ = preprocess.place(picture)
    ours = preprocess.normalise(fitted[None])[0]
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING)
