"""SE and CBAM of pytorchcv, restated for volumes, and GC from its authors' formula.

Made with torch 2.14.1 and pytorchcv 0.0.74: `python tests/goldens/attention/gates.py`.
"""

import torch
from pytorchcv.models.cbamresnet import CbamBlock
from pytorchcv.models.common.att import SEBlock
from record import record
from torch import nn

VOLUMES = ((2, 48, 3, 4, 2), (1, 64, 5, 3, 4))


class GlobalContext(nn.Module):
    """x + W2 relu(LN(W1 sum_n softmax_n(w x_n + b) x_n)), or x times the sigmoid of that term."""

    def __init__(self, channels: int, multiply: bool) -> None:
        super().__init__()
        hidden = channels // 16
        self.mask = nn.Conv2d(channels, 1, 1)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.LayerNorm([hidden, 1, 1])
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.multiply = multiply

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels = x.shape[:2]
        positions = x.reshape(batch, channels, -1)
        weights = self.mask(positions[..., None]).reshape(batch, -1, 1).softmax(1)
        context = torch.bmm(positions, weights)[..., None]
        term = self.fc2(torch.relu(self.norm(self.fc1(context)))).reshape(batch, channels, *[1] * (x.ndim - 2))
        return x * term.sigmoid() if self.multiply else x + term


class SEVolume(nn.Module):
    """Squeeze and excitation, with sums over positions written out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Linear(channels, channels // 16), nn.Linear(channels // 16, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = torch.einsum("bcdhw->bc", x) / x[0, 0].numel()
        return torch.einsum("bcdhw,bc->bcdhw", x, self.conv2(self.conv1(squeezed).relu()).sigmoid())


class CbamVolume(nn.Module):
    """CBAM with a 7 x 7 x 7 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels // 16), nn.Linear(channels // 16, channels)
        self.conv, self.norm = nn.Conv3d(2, 1, 7, padding=3, bias=False), nn.BatchNorm3d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        channel = sum(self.fc2(self.fc1(pooled).relu()) for pooled in (flat.mean(2), flat.max(2).values)).sigmoid()
        x = x * channel[:, :, None, None, None]
        return x * self.norm(self.conv(torch.stack([x.max(1).values, x.mean(1)], 1))).sigmoid()


def unnormalised(channels: int) -> nn.Module:
    """CBAM of the paper, whose spatial gate has no normalisation."""
    block = CbamBlock(channels=channels)
    block.sp_gate.conv.bn = nn.Identity()
    return block


def main() -> None:
    record("se", lambda c: SEBlock(channels=c), "conv1.weight", packages=("pytorchcv",))
    record("cbam", lambda c: CbamBlock(channels=c), "sp_gate.conv.conv.weight", packages=("pytorchcv",))
    record("se_3d", SEVolume, "conv1.weight", shapes=VOLUMES)
    record("cbam_3d", CbamVolume, "conv.weight", shapes=VOLUMES)
    record("cbam_paper", unnormalised, "sp_gate.conv.conv.weight", packages=("pytorchcv",))
    record("gc_3d", lambda c: GlobalContext(c, multiply=False), "fc2.weight", shapes=VOLUMES)
    record("gc", lambda c: GlobalContext(c, multiply=False), "mask.weight")
    record("gc_mul", lambda c: GlobalContext(c, multiply=True), "fc1.weight")


if __name__ == "__main__":
    main()
