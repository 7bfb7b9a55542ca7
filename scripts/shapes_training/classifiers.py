"""ResNet-18 and MobileNetV2 for 64x64 pictures, written from their papers.

ResNet: He et al., arXiv 1512.03385, section 3.3, table 1 (18 layers, basic blocks, projection
shortcuts where the shape changes).  MobileNetV2: Sandler et al., arXiv 1801.04381, table 2
(inverted residuals with linear bottlenecks, ReLU6, last convolution kept at 1280 channels when
the width multiplier is below one).  Both are slimmed and halve the resolution once less than the
ImageNet versions: a 64x64 picture ends as a 4x4 map before the pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (arXiv 1512.03385, figure 5 left)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu2 = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + shortcut)


class ResNet18(nn.Module):
    """ResNet-18 with 24, 48, 96 and 192 channels and a 3x3 stem of stride 1."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [width, width, width * 2, width * 4, width * 8]
        for stage in range(1, 5):
            c_in, c_out = widths[stage - 1], widths[stage]
            first = BasicBlock(c_in, c_out, 1 if stage == 1 else 2)
            self.add_module(f"layer{stage}", nn.Sequential(first, BasicBlock(c_out, c_out, 1)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class ConvReLU6(nn.Sequential):
    """Convolution (grouped or not), batch normalisation and ReLU6."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        self.act = nn.ReLU6(inplace=True)


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project linearly (arXiv 1801.04381, section 3.3, table 1)."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        self.add = stride == 1 and c_in == c_out
        self.expand = ConvReLU6(c_in, hidden, 1) if expansion != 1 else nn.Identity()
        self.depthwise = ConvReLU6(hidden, hidden, 3, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, c_out, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project_bn(self.project(self.depthwise(self.expand(x))))
        return x + y if self.add else y


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 0.5 whose 24-channel stage keeps its resolution (table 2 else)."""

    # expansion, channels at width 1, blocks, stride of the first block
    TABLE = (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, classes: int, width: float = 0.5) -> None:
        super().__init__()
        channels = _multiple_of_8(32 * width)
        self.stem = ConvReLU6(3, channels, 3, 2)
        blocks: list[nn.Module] = []
        for expansion, base, count, stride in self.TABLE:
            c_out = _multiple_of_8(base * width)
            for index in range(count):
                blocks.append(
                    InvertedResidual(channels, c_out, stride if index == 0 else 1, expansion)
                )
                channels = c_out
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvReLU6(channels, 1280, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(torch.flatten(self.avgpool(x), 1))


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and never more than 10 % below the request."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _initialise(model: nn.Module) -> None:
    """He initialisation (arXiv 1502.01852) for convolutions, small normal weights for the last."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
