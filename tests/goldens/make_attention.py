"""SE and CBAM of pytorchcv, and GC from its authors' formula, with weights from hashes in float64 -> attention.npz.

For two shapes each: the output, and what `sum(output * direction)` gives as gradient of the input and of one parameter.
The first shape runs in training (batch statistics), the second in evaluation.
Made with torch 2.14.1 and pytorchcv 0.0.74: `python tests/goldens/make_attention.py`.
"""

import pathlib

import numpy as np
import torch
from hash_weights import signed, weight
from pytorchcv.models.cbamresnet import CbamBlock
from pytorchcv.models.common.att import SEBlock
from torch import nn

SHAPES = ((2, 48, 2, 1), (1, 64, 5, 2))


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


MECHANISMS = {
    "se": (lambda c: SEBlock(channels=c), "conv1.weight"),
    "cbam": (lambda c: CbamBlock(channels=c), "sp_gate.conv.conv.weight"),
    "gc": (lambda c: GlobalContext(c, multiply=False), "mask.weight"),
    "gc_mul": (lambda c: GlobalContext(c, multiply=True), "fc1.weight"),
}


def main() -> None:
    torch.set_default_dtype(torch.float64)
    out = {"versions": f"torch {torch.__version__}, pytorchcv 0.0.74"}
    for name, (make, watched) in MECHANISMS.items():
        for index, shape in enumerate(SHAPES):
            module = make(shape[1]).train(index == 0)
            for key, tensor in module.state_dict().items():
                if not key.endswith("num_batches_tracked"):
                    # Squeezed: the flat order is the same, and LayerNorm's [hidden, 1, 1] becomes a scale.
                    value = weight(key, squeezed(key, tensor))
                    tensor.copy_(torch.from_numpy(value.reshape(tensor.shape)))
            x = torch.from_numpy(signed(shape, 12345)).requires_grad_()
            y = module(x)
            (y * torch.from_numpy(signed(shape, 777))).sum().backward()
            out[f"{name}_{index}_output"] = y.detach().numpy()
            out[f"{name}_{index}_input_gradient"] = x.grad.numpy()
            out[f"{name}_{index}_parameter_gradient"] = dict(module.named_parameters())[watched].grad.numpy()
    np.savez_compressed(pathlib.Path(__file__).with_name("attention.npz"), **out)


def squeezed(key: str, tensor: torch.Tensor) -> tuple[int, ...]:
    """A normalisation's weight has one axis."""
    return (tensor.shape[0],) if key.startswith("norm.") else tuple(tensor.shape)


if __name__ == "__main__":
    main()
