"""Mechanisms that replace a convolution: timm's in 2-D; in 3-D, strided and to other channels their formulas in loops.

Made with torch 2.14.1 and timm 1.0.31: `python tests/goldens/attention/replacing.py`.
"""

import itertools
import math
from collections.abc import Iterable

import torch
from record import record
from timm.layers.bottleneck_attn import BottleneckAttn
from timm.layers.halo_attn import HaloAttn
from timm.layers.lambda_layer import LambdaLayer
from timm.layers.selective_kernel import SelectiveKernel
from timm.layers.split_attn import SplitAttn
from torch import nn

SHAPES_3D = ((2, 16, 3, 4, 2), (1, 24, 5, 2, 3))
FEATURES = 48


def halved(space: Iterable[int]) -> tuple[int, ...]:
    return tuple(-(-n // 2) for n in space)


def product(space: Iterable[int]) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(n) for n in space)))


class Selective(nn.Module):
    """Branches of dilation 1 and 2; weights exp(a) / (exp(a) + exp(b))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, FEATURES, 3, 2, 1, 1, groups=math.gcd(channels, FEATURES), bias=False)
        self.conv2 = nn.Conv3d(channels, FEATURES, 3, 2, 2, 2, groups=math.gcd(channels, FEATURES), bias=False)
        self.norm1, self.norm2, self.norm = nn.BatchNorm3d(FEATURES), nn.BatchNorm3d(FEATURES), nn.BatchNorm1d(32)
        self.fc1, self.fc2 = nn.Linear(FEATURES, 32, bias=False), nn.Linear(32, 2 * FEATURES, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.norm1(self.conv1(x)).relu(), self.norm2(self.conv2(x)).relu()
        a, b = self.fc2(self.norm(self.fc1((first + second).mean((2, 3, 4)))).relu()).chunk(2, 1)
        share = (1 / (1 + (b - a).exp()))[..., None, None, None]
        return share * first + (1 - share) * second


class Split(nn.Module):
    """Two splits, each from one half of the channels, then 3 x 3 x 3 average pooling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, 2 * FEATURES, 3, padding=1, groups=2, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm3d(2 * FEATURES), nn.BatchNorm1d(32)
        self.fc1, self.fc2 = nn.Linear(FEATURES, 32), nn.Linear(32, 2 * FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.norm1(self.conv(x)).relu().chunk(2, 1)
        a, b = self.fc2(self.norm2(self.fc1((first + second).mean((2, 3, 4)))).relu()).chunk(2, 1)
        share = (1 / (1 + (b - a).exp()))[..., None, None, None]
        y = nn.functional.pad(share * first + (1 - share) * second, (1,) * 6)
        return y.unfold(2, 3, 2).unfold(3, 3, 2).unfold(4, 3, 2).mean((5, 6, 7))


class Positions(nn.Module):
    """One table of distances per axis; looks up the sum of a displacement's entries."""

    def __init__(self, sizes: Iterable[int], depth: int) -> None:
        super().__init__()
        for axis, n in enumerate(sizes):
            self.register_parameter(f"axis{axis}", nn.Parameter(torch.empty(2 * n - 1, depth)))

    def forward(self, displacement: Iterable[int]) -> torch.Tensor:
        pairs = zip(self.parameters(), displacement, strict=True)
        return torch.stack([table[len(table) // 2 + d] for table, d in pairs]).sum(0)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, positions: Positions) -> torch.Tensor:
    """Query by query and head by head, over all places; the scale holds for keys and positions."""
    places = product(q.shape[2:])
    outputs = []
    for here in places:
        moves = torch.stack([positions([j - i for i, j in zip(here, there, strict=True)]) for there in places])
        parts = []
        for head in range(heads):
            mine = q.chunk(heads, 1)[head][(..., *here)]
            keys, values = (t.chunk(heads, 1)[head].flatten(2) for t in (k, v))
            scores = (torch.einsum("be,bem->bm", mine, keys) + mine @ moves.T) / math.sqrt(mine.shape[1])
            parts.append(torch.einsum("bm,bem->be", scores.softmax(1), values))
        outputs.append(torch.cat(parts, 1))
    return torch.stack(outputs, 2).unflatten(2, q.shape[2:])


class Augmented(nn.Module):
    """A convolution's outputs followed by attention's."""

    def __init__(self, channels: int, space: tuple[int, ...], features: int, strides: int, widths: tuple[int, ...]):
        super().__init__()
        self.heads, self.depth, width = widths
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[len(space)]
        self.conv = conv(channels, features - self.heads * width, 3, strides, 1, bias=False)
        self.qkv = conv(channels, self.heads * (2 * self.depth + width), 1, strides, bias=False)
        self.positions = Positions(space, self.depth)
        self.out = conv(self.heads * width, self.heads * width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.qkv(x)
        keys = self.heads * self.depth
        q, k, v = y.split([keys, keys, y.shape[1] - 2 * keys], 1)
        return torch.cat([self.conv(x), self.out(attend(q, k, v, self.heads, self.positions))], 1)


class Bottleneck(nn.Module):
    """Attention to all places of a volume, then pooling."""

    def __init__(self, space: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.qkv = nn.Conv3d(channels, 3 * FEATURES, 1, bias=False)
        self.positions = Positions(space, FEATURES // 4)
        self.pool = nn.AvgPool3d(2, 2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(attend(*self.qkv(x).chunk(3, 1), 4, self.positions))


class FilledHalo(nn.Module):
    """timm's on an image that zeros fill up to whole blocks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn = HaloAttn(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        return self.attn(nn.functional.pad(x, (0, -width % 8, 0, -height % 8)))[:, :, :height, :width]


class HaloLoops(nn.Module):
    """Query by query, over the window of its block."""

    def __init__(self, channels: int, axes: int, features: int, block: int, halo: int, strides: int, masked: bool):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        self.q, self.kv = conv(channels, features, 1, bias=False), conv(channels, 2 * features, 1, bias=False)
        self.positions = Positions([block + 2 * halo] * axes, features // 8)
        self.block, self.halo, self.strides, self.masked = block, halo, strides, masked

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, (k, v) = self.q(x).unflatten(1, (8, -1)), self.kv(x).unflatten(1, (8, -1)).chunk(2, 2)
        space = x.shape[2:]
        smaller = [-(-n // self.strides) for n in space]
        outputs = []
        for target in product(smaller):
            here = tuple(self.strides * i for i in target)
            ranges = []
            for i, n in zip(here, space, strict=True):
                block = min(self.block, n)
                start = i // block * block
                ranges.append([(start, j) for j in range(start - self.halo, start + block + self.halo)])
            logits, values = [], []
            for window in itertools.product(*ranges):
                starts, there = zip(*window, strict=True)
                inside = all(0 <= j < n for j, n in zip(there, space, strict=True))
                if self.masked and not inside:
                    continue
                mine = q[(..., *here)]
                key, value = (t[(..., *there)] if inside else torch.zeros_like(mine) for t in (k, v))
                # A window starts `halo` before its block, and the table's middle is the distance 0 in a window.
                moves = [j - start + self.halo - (i - start) for i, start, j in zip(here, starts, there, strict=True)]
                logits.append((mine * key).sum(2) / math.sqrt(mine.shape[2]) + mine @ self.positions(moves))
                values.append(value)
            weights = torch.stack(logits).softmax(0)
            outputs.append((weights[..., None] * torch.stack(values)).sum(0).flatten(1))
        return torch.stack(outputs, 2).unflatten(2, smaller)


class Lambda(nn.Module):
    """Place by place: the map of its whole context plus that of its neighbours, applied to its queries."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Conv3d(channels, 4 * 16 + 16 + FEATURES // 4, 1, bias=False)
        self.norm_q, self.norm_v = nn.BatchNorm3d(4 * 16), nn.BatchNorm3d(FEATURES // 4)
        self.conv = nn.Conv3d(1, 16, 3, padding=1)
        self.pool = nn.AvgPool3d(2, 2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).split([4 * 16, 16, FEATURES // 4], 1)
        q, v = self.norm_q(q), self.norm_v(v)
        shares = k.flatten(2).exp() / k.flatten(2).exp().sum(2, keepdim=True)
        everywhere = torch.einsum("bkm,bvm->bkv", shares, v.flatten(2))
        near = torch.stack([self.conv(v[:, i : i + 1]) for i in range(v.shape[1])], 2)
        outputs = []
        for here in product(x.shape[2:]):
            maps = everywhere + near[(..., *here)]
            heads = [part[:, None] @ maps for part in q[(..., *here)].chunk(4, 1)]
            outputs.append(torch.cat(heads, 2)[:, 0])
        return self.pool(torch.stack(outputs, 2).unflatten(2, x.shape[2:]))


def most_groups(channels: int) -> int:
    return max(n for n in range(1, 33) if channels % n == 0)


def main() -> None:
    timm: dict[str, tuple[str, ...]] = {"packages": ("timm",)}
    volumes = {shape[1]: shape[2:] for shape in SHAPES_3D}
    three: dict[str, tuple[tuple[int, ...], ...]] = {"shapes": SHAPES_3D}

    def selective(channels: int) -> nn.Module:
        widths = {"groups": most_groups(channels), "rd_divisor": 32}
        return SelectiveKernel(channels, split_input=False, **widths)

    record("sk", selective, "attn.fc_select.weight", **timm)
    record("sk_3d", Selective, "fc2.weight", **three)
    record("split", lambda c: SplitAttn(c, norm_layer=nn.BatchNorm2d), "fc2.weight", **timm)
    record("split_3d", Split, "fc2.weight", **three)

    sizes = {80: (3, 2), 160: (5, 4)}
    shapes = ((2, 80, 3, 2), (1, 160, 5, 4))
    record("aa", lambda c: Augmented(c, sizes[c], c, 1, (8, 20, c // 80)), "positions.axis0", shapes=shapes)
    record("aa_3d", lambda c: Augmented(c, halved(volumes[c]), FEATURES, 2, (4, 6, 3)), "positions.axis0", **three)

    sizes = {48: (3, 2), 64: (5, 4)}
    official = {"scale_pos_embed": True}
    record("mhsa", lambda c: BottleneckAttn(c, feat_size=sizes[c], **official), "pos_embed.height_rel", **timm)
    record("mhsa_timm", lambda c: BottleneckAttn(c, feat_size=sizes[c]), "pos_embed.height_rel", **timm)
    record("mhsa_3d", lambda c: Bottleneck(volumes[c], c), "positions.axis0", **three)

    record("halo", FilledHalo, "attn.pos_embed.width_rel", shapes=((2, 48, 9, 10), (1, 64, 16, 8)), **timm)
    record("halo_3d", lambda c: HaloLoops(c, 3, FEATURES, 4, 1, 2, False), "positions.axis0", **three)
    masked_shapes = ((2, 48, 3, 2), (1, 64, 9, 4))
    record("halo_masked", lambda c: HaloLoops(c, 2, c, 8, 3, 1, True), "positions.axis1", shapes=masked_shapes)

    # Two images: of one, PyTorch 2.14.1's BatchNorm in evaluation gives a wrong gradient where that is transposed.
    record("lambda", LambdaLayer, "conv_lambda.weight", shapes=((2, 48, 3, 2), (2, 64, 5, 4)), **timm)
    record("lambda_3d", Lambda, "conv.weight", **three)


if __name__ == "__main__":
    main()
