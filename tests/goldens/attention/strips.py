"""ELA of timm, the paper's polarized self-attention of fightingcv-attention (whose layers are biased, unlike the
authors': the biases are taken out), and, where no package has it, what the authors' code computes, restated.

Made with torch 2.14.1, timm 1.0.31 and fightingcv-attention 1.0.0: `python tests/goldens/attention/strips.py`.
"""

import math

import torch
from fightingcv_attention.attention.PolarizedSelfAttention import (
    ParallelPolarizedSelfAttention,
    SequentialPolarizedSelfAttention,
)
from record import record
from timm.layers.coord_attn import EfficientLocalAttn
from torch import nn
from torch.nn import functional as F

WIDE = ((2, 48, 9, 6), (1, 64, 8, 13))
"""Sizes that the strips reach across."""

VOLUMES = ((2, 48, 5, 4, 3), (1, 64, 3, 6, 4))
BOTH = (WIDE[0], VOLUMES[1])
GROUPS = {48: 24, 64: 32, 256: 32}
"""Into how many up to 32 the channels can be cut."""

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def lines(x: torch.Tensor, axis: int) -> torch.Tensor:
    """The means of `x` [B, C, *space] over all spatial axes but `axis`: [B, C, N]."""
    return x.movedim(axis, 2).flatten(3).mean(3) if x.ndim > 3 else x


def facing(line: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """`line` [B, C, N] with ones for the other spatial axes of `x`."""
    return line[(..., *[None] * (x.ndim - 3))].movedim(2, axis)


class AuthorsELA(nn.Module):
    """One convolution and one normalisation for both axes, as in the authors' ELA-B."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 7, padding=3, groups=channels, bias=False)
        self.norm = nn.GroupNorm(16, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = x
        for axis in range(2, x.ndim):
            result = result * facing(self.norm(self.conv(lines(x, axis))).sigmoid(), x, axis)
        return result


class VolumeELA(nn.Module):
    """timm's, with a convolution and a normalisation for each of three axes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        depthwise = {"padding": 3, "groups": channels, "bias": False}
        self.convs = nn.ModuleList(nn.Conv1d(channels, channels, 7, **depthwise) for _ in range(3))
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = x
        for axis, conv, norm in zip((2, 3, 4), self.convs, self.norms, strict=True):
            result = result * facing(F.silu(norm(conv(lines(x, axis)))).sigmoid(), x, axis)
        return result


class EMA(nn.Module):
    """Group by group, with softmax and products written out."""

    def __init__(self, channels: int, groups: int, axes: int = 2) -> None:
        super().__init__()
        width = channels // groups
        self.conv1x1 = nn.Conv1d(width, width, 1)
        self.conv3x3 = CONVOLUTIONS[axes](width, width, 3, padding=1)
        self.norm = nn.GroupNorm(width, width)
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.group(part) for part in x.chunk(self.groups, 1)], 1)

    def group(self, x: torch.Tensor) -> torch.Tensor:
        gated = x
        for axis in range(2, x.ndim):
            gated = gated * facing(self.conv1x1(lines(x, axis)).sigmoid(), x, axis)
        strips, window = self.norm(gated), self.conv3x3(x)
        logits = 0
        for asking, asked in ((strips, window), (window, strips)):
            query = asking.flatten(2).mean(2).exp()
            weights = query / query.sum(1, keepdim=True)
            logits = logits + sum(
                facing(weights[:, i : i + 1, None], x, 2) * asked[:, i : i + 1] for i in range(x.shape[1])
            )
        return x * logits.sigmoid()


class MCA(nn.Module):
    """The mean of one gated copy per axis, channels included."""

    def __init__(self, channels: int, axes: int = 2) -> None:
        super().__init__()
        size = round(abs((math.log2(channels) - 1) / 1.5))
        sizes = [size if size % 2 else size - 1] + [3] * axes
        self.convs = nn.ModuleList(nn.Conv1d(1, 1, size, padding=size // 2, bias=False) for size in sizes)
        self.mixes = nn.ParameterList(nn.Parameter(torch.zeros(2)) for _ in sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        copies = []
        for axis, (conv, mix) in enumerate(zip(self.convs, self.mixes, strict=True), start=1):
            turned = x.movedim(axis, 1)
            rows = turned.flatten(2)
            mean, deviation = rows.mean(2), rows.std(2)
            pooled = 0.5 * (mean + deviation) + mix.sigmoid()[0] * mean + mix.sigmoid()[1] * deviation
            gate = conv(pooled[:, None])[:, 0].sigmoid()
            copies.append((turned * gate[(..., *[None] * (x.ndim - 2))]).movedim(1, axis))
        return sum(copies) / len(copies)


class CAA(nn.Module):
    """Pointwise, strip by strip from the last axis on, pointwise; normalised as in the authors' class or not at all."""

    def __init__(self, channels: int, axes: int = 2, plain: bool = False) -> None:
        super().__init__()
        conv, norm = CONVOLUTIONS[axes], (nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d)
        self.pool = (nn.AvgPool2d if axes == 2 else nn.AvgPool3d)(7, 1)
        self.margin = [3] * 2 * axes
        self.conv1, self.conv2 = (conv(channels, channels, 1, bias=plain) for _ in range(2))
        self.norm1, self.norm2 = (None if plain else norm(channels, eps=1e-3) for _ in range(2))
        self.strips = nn.ModuleList()
        for axis in reversed(range(axes)):
            size = [11 if axis == other else 1 for other in range(axes)]
            self.strips.append(conv(channels, channels, size, padding=[n // 2 for n in size], groups=channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(self.pool(F.pad(x, self.margin)))
        y = F.silu(self.norm1(y)) if self.norm1 else y
        for strip in self.strips:
            y = strip(y)
        y = self.conv2(y)
        return x * (F.silu(self.norm2(y)) if self.norm2 else y).sigmoid()


class SCSA(nn.Module):
    """With windows cut one by one and heads attended to one by one."""

    def __init__(self, channels: int, axes: int = 2) -> None:
        super().__init__()
        width = channels // 4
        self.convs = nn.ModuleList(nn.Conv1d(width, width, k, padding=k // 2, groups=width) for k in (3, 5, 7, 9))
        self.norms = nn.ModuleList(nn.GroupNorm(4, channels) for _ in range(axes))
        self.norm = nn.GroupNorm(1, channels)
        self.q, self.k, self.v = (
            CONVOLUTIONS[axes](channels, channels, 1, groups=channels, bias=False) for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gated = x
        for axis, norm in enumerate(self.norms, start=2):
            parts = lines(x, axis).chunk(4, 1)
            y = torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], 1)
            gated = gated * facing(norm(y).sigmoid(), x, axis)

        windows = gated
        for axis in range(2, x.ndim):
            size = min(7, x.shape[axis])
            starts = range(0, x.shape[axis] - size + 1, size)
            windows = torch.cat([windows.narrow(axis, s, size).mean(axis, keepdim=True) for s in starts], axis)
        y = self.norm(windows)
        results = []
        for q, k, v in zip(*(layer(y).flatten(2).chunk(8, 1) for layer in (self.q, self.k, self.v)), strict=True):
            attention = (q @ k.transpose(1, 2) / math.sqrt(q.shape[1])).softmax(2)
            results.append((attention @ v).mean(2))
        return gated * torch.cat(results, 1)[(..., *[None] * (x.ndim - 2))].sigmoid()


class Polarized(nn.Module):
    """The authors' two modules, every position a column of a matrix."""

    def __init__(self, channels: int, parallel: bool) -> None:
        super().__init__()
        half = channels // 2
        self.channel_query = nn.Conv1d(channels, 1, 1, bias=False)
        self.channel_value, self.spatial_query, self.spatial_value = (
            nn.Conv1d(channels, half, 1, bias=False) for _ in range(3)
        )
        if parallel:
            self.up = nn.Linear(half, channels, bias=False)
        else:
            self.fc1, self.norm, self.fc2 = (
                nn.Linear(half, half // 4),
                nn.LayerNorm(half // 4),
                nn.Linear(half // 4, channels),
            )
        self.parallel = parallel

    def channel_gate(self, x: torch.Tensor) -> torch.Tensor:
        context = (self.channel_value(x) @ self.channel_query(x).softmax(2).transpose(1, 2))[..., 0]
        y = self.up(context) if self.parallel else self.fc2(self.norm(self.fc1(context)).relu())
        return y.sigmoid()[..., None]

    def spatial_gate(self, x: torch.Tensor) -> torch.Tensor:
        query, value = self.spatial_query(x).mean(2)[:, None], self.spatial_value(x)
        return ((query @ value).softmax(2) if self.parallel else query @ value.softmax(2)).sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = x.flatten(2)
        gated = columns * self.channel_gate(columns)
        if self.parallel:
            return (gated + columns * self.spatial_gate(columns)).reshape(x.shape)
        return (gated * self.spatial_gate(gated)).reshape(x.shape)


def unbiased(module: nn.Module) -> nn.Module:
    """`module` with convolutions that have weights alone."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_parameter("bias", None)
    return module


def main() -> None:
    record("ela", EfficientLocalAttn, "conv_h.weight", shapes=WIDE, packages=("timm",))
    record("ela_3d", VolumeELA, "convs.1.weight", shapes=VOLUMES)
    record("ela_authors", AuthorsELA, "conv.weight", shapes=BOTH)
    record("ema", lambda c: EMA(c, GROUPS[c]), "conv1x1.weight", shapes=((2, 48, 9, 6), (1, 256, 8, 13)))
    record("ema_3d", lambda c: EMA(c, GROUPS[c], 3), "conv3x3.weight", shapes=VOLUMES)
    record("mca", MCA, "mixes.0", shapes=WIDE)
    record("mca_3d", lambda c: MCA(c, 3), "convs.3.weight", shapes=VOLUMES)
    record("caa", CAA, "strips.0.weight", shapes=WIDE)
    record("caa_plain", lambda c: CAA(c, plain=True), "conv1.weight", shapes=WIDE)
    record("caa_3d", lambda c: CAA(c, 3), "strips.2.weight", shapes=VOLUMES)
    record("scsa", SCSA, "q.weight", shapes=((2, 48, 3, 2), (1, 64, 15, 9)))
    record("scsa_3d", lambda c: SCSA(c, 3), "convs.1.weight", shapes=((2, 48, 3, 2, 4), (1, 64, 8, 14, 3)))
    record("psa_p", lambda c: Polarized(c, parallel=True), "spatial_query.weight", shapes=BOTH)
    record("psa_s", lambda c: Polarized(c, parallel=False), "channel_query.weight", shapes=BOTH)
    fcv = ("fightingcv-attention",)
    record("psa_p_paper", lambda c: unbiased(ParallelPolarizedSelfAttention(c)), "sp_wq.weight", packages=fcv)
    record("psa_s_paper", lambda c: unbiased(SequentialPolarizedSelfAttention(c)), "ch_wz.weight", packages=fcv)


if __name__ == "__main__":
    main()
