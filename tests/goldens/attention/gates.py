"""SE and CBAM of pytorchcv, and GC from its authors' formula.

Made with torch 2.14.1 and pytorchcv 0.0.74: `python tests/goldens/attention/gates.py`.
"""

import torch
from pytorchcv.models.cbamresnet import CbamBlock
from pytorchcv.models.common.att import SEBlock
from record import record
from torch import nn


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
        weights = self.mask(x).reshape(batch, -1, 1).softmax(1)
        context = torch.bmm(x.reshape(batch, channels, -1), weights)[..., None]
        term = self.fc2(torch.relu(self.norm(self.fc1(context))))
        return x * term.sigmoid() if self.multiply else x + term


def main() -> None:
    record("se", lambda c: SEBlock(channels=c), "conv1.weight", packages=("pytorchcv",))
    record("cbam", lambda c: CbamBlock(channels=c), "sp_gate.conv.conv.weight", packages=("pytorchcv",))
    record("gc", lambda c: GlobalContext(c, multiply=False), "mask.weight")
    record("gc_mul", lambda c: GlobalContext(c, multiply=True), "fc1.weight")


if __name__ == "__main__":
    main()
