"""The YOLOv8-nano architecture, written from its published description.

The layer table (depth multiple 0.33, width multiple 0.25, at most 1024 channels) and the blocks
Conv, C2f, SPPF and the decoupled anchor-free head follow the description in Terven et al., "A
Comprehensive Review of YOLO Architectures" (arXiv 2304.00501, section on YOLOv8).  SPPF comes
from spatial pyramid pooling (arXiv 1406.4729), the PAN neck from arXiv 1803.01534, and the
distribution over box distances from Generalized Focal Loss (arXiv 2006.04388, section 3.2).
Layers are numbered `model.0` .. `model.22` as in the published table, so that node names in an
exported graph read like those of any other YOLOv8 file.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

REG_MAX = 16
STRIDES = (8, 16, 32)


class Conv(nn.Module):
    """Convolution without bias, batch normalisation (eps 1e-3) and SiLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Two 3x3 convolutions with an optional residual connection."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 3)
        self.cv2 = Conv(channels, channels, 3)
        self.add = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C2f(nn.Module):
    """Cross-stage-partial block that concatenates every bottleneck's output."""

    def __init__(self, c_in: int, c_out: int, depth: int, shortcut: bool = False) -> None:
        super().__init__()
        self.c = c_out // 2
        self.cv1 = Conv(c_in, 2 * self.c)
        self.cv2 = Conv((2 + depth) * self.c, c_out)
        self.m = nn.ModuleList(Bottleneck(self.c, shortcut) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.cv1(x).split((self.c, self.c), 1))
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class SPPF(nn.Module):
    """Spatial pyramid pooling as three 5x5 max-poolings in a row."""

    def __init__(self, channels: int, kernel: int = 5) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels // 2)
        self.cv2 = Conv(channels * 2, channels)
        self.m = nn.MaxPool2d(kernel, 1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class Concat(nn.Module):
    """Concatenation along the channels, as a layer of its own."""

    def forward(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, 1)


class DFL(nn.Module):
    """Expected distance of a softmax distribution, as a fixed 1x1 convolution (0 .. REG_MAX-1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(REG_MAX, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(REG_MAX, dtype=torch.float32).view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        anchors = int(x.shape[2])
        bins = x.view(-1, 4, REG_MAX, anchors).transpose(2, 1)
        return self.conv(bins.softmax(1)).view(-1, 4, anchors)


class Detect(nn.Module):
    """Decoupled head: box distributions and class logits for each of three strides."""

    def __init__(self, classes: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.nc = classes
        c2 = max(16, channels[0] // 4, REG_MAX * 4)
        c3 = max(channels[0], min(classes, 100))
        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(c, c2, 3), Conv(c2, c2, 3), nn.Conv2d(c2, 4 * REG_MAX, 1))
            for c in channels
        )
        self.cv3 = nn.ModuleList(
            nn.Sequential(Conv(c, c3, 3), Conv(c3, c3, 3), nn.Conv2d(c3, classes, 1))
            for c in channels
        )
        self.dfl = DFL()
        for box, cls, stride in zip(self.cv2, self.cv3, STRIDES, strict=True):
            box[-1].bias.data[:] = 1.0
            # About five objects in a 640x640 image, spread evenly over classes and cells.
            cls[-1].bias.data[:] = math.log(5 / classes / (640 / stride) ** 2)

    def forward(self, features: list[Tensor], grid: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Raw predictions, (N, 4 * REG_MAX + classes, anchors), strides in order.

        With a grid of cell centres and strides, `decode` is applied to them.
        """
        levels = []
        for x, box, cls in zip(features, self.cv2, self.cv3, strict=True):
            cells = int(x.shape[2]) * int(x.shape[3])
            both = torch.cat((box(x), cls(x)), 1)
            levels.append(both.reshape(-1, 4 * REG_MAX + self.nc, cells))
        raw = torch.cat(levels, 2)
        return raw if grid is None else self.decode(raw, *grid)

    def decode(self, raw: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
        """(N, 4 + classes, anchors): cx, cy, w, h in input pixels, then class scores."""
        box, cls = raw.split((4 * REG_MAX, self.nc), 1)
        top_left, bottom_right = self.dfl(box).split((2, 2), 1)
        low = centres - top_left
        high = centres + bottom_right
        boxes = torch.cat(((low + high) / 2, high - low), 1) * strides
        return torch.cat((boxes, cls.sigmoid()), 1)


def anchor_grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Cell centres (1, 2, anchors) in units of their stride, and the strides (1, anchors)."""
    centres, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(
            torch.arange(height // stride) + 0.5, torch.arange(width // stride) + 0.5, indexing="ij"
        )
        centres.append(torch.stack((x.reshape(-1), y.reshape(-1))))
        strides.append(torch.full((1, x.numel()), float(stride)))
    return torch.cat(centres, 1)[None], torch.cat(strides, 1)


class YOLOv8n(nn.Module):
    """YOLOv8-nano; `forward` gives raw predictions."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        up = [nn.Upsample(scale_factor=2, mode="nearest") for _ in range(2)]
        cat = [Concat() for _ in range(4)]
        self.nc = classes
        self.model = nn.ModuleList([
            Conv(3, 16, 3, 2),  # 0: stride 2
            Conv(16, 32, 3, 2),  # 1: stride 4
            C2f(32, 32, 1, True),
            Conv(32, 64, 3, 2),  # 3: stride 8
            C2f(64, 64, 2, True),
            Conv(64, 128, 3, 2),  # 5: stride 16
            C2f(128, 128, 2, True),
            Conv(128, 256, 3, 2),  # 7: stride 32
            C2f(256, 256, 1, True),
            SPPF(256),
            up[0], cat[0], C2f(256 + 128, 128, 1),  # 10-12: top-down to stride 16
            up[1], cat[1], C2f(128 + 64, 64, 1),  # 13-15: top-down to stride 8
            Conv(64, 64, 3, 2), cat[2], C2f(64 + 128, 128, 1),  # 16-18: bottom-up
            Conv(128, 128, 3, 2), cat[3], C2f(128 + 256, 256, 1),  # 19-21: bottom-up
            Detect(classes, (64, 128, 256)),
        ])  # fmt: skip

    def forward(self, x: Tensor, grid: tuple[Tensor, Tensor] | None = None) -> Tensor:
        layer = self.model
        for index in range(5):
            x = layer[index](x)
        p3 = x
        p4 = layer[6](layer[5](p3))
        p5 = layer[9](layer[8](layer[7](p4)))
        mid = layer[12](layer[11]([layer[10](p5), p4]))
        small = layer[15](layer[14]([layer[13](mid), p3]))
        medium = layer[18](layer[17]([layer[16](small), mid]))
        large = layer[21](layer[20]([layer[19](medium), p5]))
        return layer[22]([small, medium, large], grid)


class Decoded(YOLOv8n):
    """The same network, which decodes its boxes for one fixed input size when `export` is set."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__(classes)
        self.export = False
        centres, strides = anchor_grid(size, size)
        self.register_buffer("anchor_centres", centres, persistent=False)
        self.register_buffer("anchor_strides", strides, persistent=False)

    def decoded(self, x: Tensor) -> Tensor:
        return super().forward(x, (self.anchor_centres, self.anchor_strides))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.decoded(x) if self.export else super().forward(x)
