"""BAM of pytorchcv, coordinate attention of timm, and triplet, SimAM and shuffle attention of fightingcv-attention.

The last three were compared with their authors' code. What no package has follows from the authors' formulas.

Made with torch 2.14.1, pytorchcv 0.0.74, timm 1.0.31 and fightingcv-attention 1.0.0:
`python tests/goldens/attention/spatial.py`.
"""

import torch
from fightingcv_attention.attention.ShuffleAttention import ShuffleAttention
from fightingcv_attention.attention.SimAM import SimAM
from fightingcv_attention.attention.TripletAttention import TripletAttention
from pytorchcv.models.bamresnet import BamBlock
from record import record
from timm.layers.coord_attn import CoordAttn
from torch import nn

WIDE = ((2, 48, 6, 5), (1, 64, 7, 9))
"""Sizes that a dilation of 4 reaches across."""

VOLUMES = ((2, 48, 3, 2, 4), (1, 64, 2, 5, 3))


class SqueezeExcitation(nn.Module):
    """The channel gate, the spatial gate or both of arXiv 1803.02579, with every position as a row of a matrix."""

    def __init__(self, channels: int, reduction: int = 0, spatial: bool = False, add: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // reduction) if reduction else None
        self.fc2 = nn.Linear(channels // reduction, channels) if reduction else None
        self.conv = nn.Linear(channels, 1) if spatial else None
        self.add = add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(2).transpose(1, 2)
        results = []
        if self.fc1:
            results.append(rows * self.fc2(self.fc1(rows.mean(1, keepdim=True)).relu()).sigmoid())
        if self.conv:
            results.append(rows * self.conv(rows).sigmoid())
        stacked = torch.stack(results)
        return (stacked.sum(0) if self.add else stacked.amax(0)).transpose(1, 2).reshape(x.shape)


class BamSum(BamBlock):
    """pytorchcv's two terms, added as in the paper."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x * torch.sigmoid(self.ch_att(x) + self.sp_att(x))


class BamVolume(nn.Module):
    """BAM with the convolutions of a volume."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.fc1, self.fc1_norm = nn.Linear(channels, hidden), nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, channels)
        self.conv1, self.conv1_norm = nn.Conv3d(channels, hidden, 1), nn.BatchNorm3d(hidden)
        self.conv2, self.conv2_norm = nn.Conv3d(hidden, hidden, 3, padding=4, dilation=4), nn.BatchNorm3d(hidden)
        self.conv3, self.conv3_norm = nn.Conv3d(hidden, hidden, 3, padding=4, dilation=4), nn.BatchNorm3d(hidden)
        self.conv4 = nn.Conv3d(hidden, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channel = self.fc2(self.fc1_norm(self.fc1(x.mean((2, 3, 4)))).relu())
        spatial = self.conv1_norm(self.conv1(x)).relu()
        spatial = self.conv2_norm(self.conv2(spatial)).relu()
        spatial = self.conv4(self.conv3_norm(self.conv3(spatial)).relu())
        return x * (1 + (channel[:, :, None, None, None] * spatial).sigmoid())


class BamTerms(nn.Module):
    """BAM by the paper's equations 3 to 5: a normalisation ends each term, and stands nowhere else."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.channel_norm, self.spatial_norm = nn.BatchNorm1d(channels), nn.BatchNorm2d(1)
        self.conv1, self.conv4 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, 1, 1)
        self.conv2, self.conv3 = (nn.Conv2d(hidden, hidden, 3, padding=4, dilation=4) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channel = self.channel_norm(self.fc2(self.fc1(x.mean((2, 3))).relu()))
        spatial = self.spatial_norm(self.conv4(self.conv3(self.conv2(self.conv1(x)))))
        return x + x * (channel[:, :, None, None] + spatial).sigmoid()


class TripletVolume(nn.Module):
    """Triplet attention with a gate for each of the four axes of a volume, and a smaller kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleDict({axis: nn.Conv3d(2, 1, 3, padding=1, bias=False) for axis in "cdhw"})
        self.norms = nn.ModuleDict({axis: nn.BatchNorm3d(1) for axis in "cdhw"})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        results = []
        for place, axis in enumerate("cdhw", start=1):
            front = x.movedim(place, 1)
            pooled = torch.stack([front.max(1).values, front.mean(1)], 1)
            gate = self.norms[axis](self.convs[axis](pooled)).sigmoid()
            results.append((front * gate).movedim(1, place))
        return torch.stack(results).mean(0)


class CoordinateVolume(nn.Module):
    """Coordinate attention with a strip for each of the three axes of a volume."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 32)
        self.conv1, self.bn1 = nn.Conv1d(channels, hidden, 1), nn.BatchNorm1d(hidden)
        self.conv_d, self.conv_h, self.conv_w = (nn.Conv1d(hidden, channels, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        depth, height, width = x.shape[2:]
        strips = torch.cat([x.mean((3, 4)), x.mean((2, 4)), x.mean((2, 3))], 2)
        parts = nn.functional.hardswish(self.bn1(self.conv1(strips))).split([depth, height, width], 2)
        layers = (self.conv_d, self.conv_h, self.conv_w)
        gates = [layer(part).sigmoid() for layer, part in zip(layers, parts, strict=True)]
        return torch.einsum("bcdhw,bcd,bch,bcw->bcdhw", x, *gates)


class SimAMRows(nn.Module):
    """SimAM over rows of positions, however many axes they come from."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(2)
        variance, mean = torch.var_mean(rows, 2, keepdim=True)
        return (rows * ((rows - mean) ** 2 / (4 * variance + 4e-4) + 0.5).sigmoid()).reshape(x.shape)


class ShuffleVolume(nn.Module):
    """Shuffle attention, channel by channel."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.half = channels // groups // 2
        self.cweight, self.cbias, self.sweight, self.sbias, self.nweight, self.nbias = (
            nn.Parameter(torch.zeros(self.half)) for _ in range(6)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = []
        for index, channel in enumerate(x.unbind(1)):
            place = index % self.half
            variance, mean = torch.var_mean(channel, (1, 2, 3), keepdim=True, correction=0)
            if index // self.half % 2 == 0:
                term = self.cweight[place] * mean + self.cbias[place]
            else:
                normal = self.nweight[place] * (channel - mean) / (variance + 1e-5).sqrt() + self.nbias[place]
                term = self.sweight[place] * normal + self.sbias[place]
            out.append(channel * term.sigmoid())
        middle = len(out) // 2
        return torch.stack([one for pair in zip(out[:middle], out[middle:], strict=True) for one in pair], 1)


def main() -> None:
    record("sse", lambda c: SqueezeExcitation(c, spatial=True), "conv.weight")
    record("sse_3d", lambda c: SqueezeExcitation(c, spatial=True), "conv.weight", shapes=VOLUMES)
    record("cse", lambda c: SqueezeExcitation(c, reduction=2), "fc1.weight")
    record("scse", lambda c: SqueezeExcitation(c, 16, spatial=True), "conv.weight")
    record("scse_3d", lambda c: SqueezeExcitation(c, 16, spatial=True), "fc1.weight", shapes=VOLUMES)
    record("scse_add", lambda c: SqueezeExcitation(c, 16, spatial=True, add=True), "fc1.weight")

    dilated = "sp_att.dil_convs.conv1.conv.weight"
    record("bam", lambda c: BamBlock(channels=c), dilated, shapes=WIDE, packages=("pytorchcv",))
    record("bam_add", lambda c: BamSum(channels=c), dilated, shapes=WIDE, packages=("pytorchcv",))
    record("bam_paper", BamTerms, "conv2.weight", shapes=WIDE)
    record("bam_3d", BamVolume, "conv2.weight", shapes=((2, 48, 6, 5, 4), (1, 64, 3, 5, 7)))

    triplet = {"shapes": ((2, 24, 9, 8), (1, 32, 4, 11)), "packages": ("fightingcv-attention",)}
    record("triplet", lambda c: TripletAttention(), "cw.conv.conv.weight", **triplet)
    record("triplet_3d", lambda c: TripletVolume(), "convs.h.weight", shapes=VOLUMES)

    strips = {"rd_channels": 8, "bias": True}
    record("coordinate", lambda c: CoordAttn(c, **strips), "conv_h.weight", packages=("timm",))
    record("coordinate_3d", CoordinateVolume, "conv_h.weight", shapes=VOLUMES)

    record("simam", SimAM, "", packages=("fightingcv-attention",))
    record("simam_3d", lambda c: SimAMRows(), "", shapes=VOLUMES)

    shuffle = {"shapes": ((2, 48, 3, 2), (1, 256, 5, 4)), "packages": ("fightingcv-attention",)}
    record("shuffle", lambda c: ShuffleAttention(c, G={48: 24, 256: 64}[c]), "sweight", **shuffle)
    record("shuffle_3d", lambda c: ShuffleVolume(c, groups=8), "nweight", shapes=VOLUMES)


if __name__ == "__main__":
    main()
