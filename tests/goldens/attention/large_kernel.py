"""Large kernel attention and large selective kernels: what the authors' code computes, restated.

Made with torch 2.14.1: `python tests/goldens/attention/large_kernel.py`.
"""

import itertools

import torch
from record import record
from torch import nn
from torch.nn import functional as F

WIDE = ((2, 24, 13, 11), (1, 32, 12, 14))
"""Sizes that the dilated window, 9 to each side, reaches across."""

VOLUMES = ((1, 4, 3, 11, 2), (1, 6, 2, 4, 10))
CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}


class Depthwise(nn.Module):
    """Each channel with its own window, one element of it after the other."""

    def __init__(self, channels: int, size: int, dilation: int, axes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, *[size] * axes))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.size, self.dilation = size, dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        space = x.shape[2:]
        ones = [1] * len(space)
        y = self.bias.reshape(-1, *ones).expand(x.shape)
        margin = self.dilation * (self.size // 2)
        padded = F.pad(x, [margin, margin] * len(space))
        for element in itertools.product(range(self.size), repeat=len(space)):
            seen = padded
            for axis, (step, length) in enumerate(zip(element, space, strict=True), start=2):
                seen = seen.narrow(axis, step * self.dilation, length)
            y = y + self.weight[(slice(None), 0, *element)].reshape(-1, *ones) * seen
        return y


class LKA(nn.Module):
    """The input times the two depthwise convolutions and a pointwise one of it, between two layers if `wrapped`."""

    def __init__(self, channels: int, wrapped: bool = False, axes: int = 2) -> None:
        super().__init__()
        self.conv0, self.conv_spatial = Depthwise(channels, 5, 1, axes), Depthwise(channels, 7, 3, axes)
        self.conv1 = nn.Linear(channels, channels)
        self.proj_1, self.proj_2 = (nn.Linear(channels, channels) if wrapped else None for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.gelu(pointwise(self.proj_1, x)) if self.proj_1 else x
        y = y * pointwise(self.conv1, self.conv_spatial(self.conv0(y)))
        return x + pointwise(self.proj_2, y) if self.proj_2 else y


class LSK(nn.Module):
    """The input times a mixture of both depthwise convolutions."""

    def __init__(self, channels: int, axes: int = 2) -> None:
        super().__init__()
        self.conv0, self.conv_spatial = Depthwise(channels, 5, 1, axes), Depthwise(channels, 7, 3, axes)
        self.conv1, self.conv2 = (nn.Linear(channels, channels // 2) for _ in range(2))
        self.conv_squeeze = CONVOLUTIONS[axes](2, 2, 7, padding=3)
        self.conv = nn.Linear(channels // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = self.conv0(x)
        branches = torch.stack([pointwise(self.conv1, small), pointwise(self.conv2, self.conv_spatial(small))], 1)
        both = branches.flatten(1, 2)
        shares = self.conv_squeeze(torch.stack([both.mean(1), both.amax(1)], 1)).sigmoid()
        return x * pointwise(self.conv, (branches * shares[:, :, None]).sum(1))


def pointwise(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return layer(x.movedim(1, -1)).movedim(-1, 1)


def main() -> None:
    record("lka", LKA, "conv_spatial.weight", shapes=WIDE)
    record("lka_wrapped", lambda c: LKA(c, wrapped=True), "proj_1.weight", shapes=WIDE)
    record("lka_3d", lambda c: LKA(c, axes=3), "conv0.weight", shapes=VOLUMES)
    record("lsk", LSK, "conv_squeeze.weight", shapes=WIDE)
    record("lsk_3d", lambda c: LSK(c, axes=3), "conv_spatial.weight", shapes=VOLUMES)


if __name__ == "__main__":
    main()
