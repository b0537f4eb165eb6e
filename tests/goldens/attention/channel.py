"""eSE, ECA and GE of timm, GCT, FcaNet and SGE of packages that hold their authors' code, SRM and NAM by formula.

Made with torch 2.14.1, timm 1.0.20 (later ones cannot build GE with parameters), attentionmechanism 1.0.2 and
fightingcv-attention 1.0.0: `python tests/goldens/attention/channel.py`.
"""

import functools

import torch
from AttentionMechanism.model.attention.FCA import MultiSpectralAttentionLayer
from AttentionMechanism.model.attention.GCTAttention import GCT
from fightingcv_attention.attention.SGE import SpatialGroupEnhance
from record import record
from timm.layers.activations import HardSigmoid
from timm.layers.eca import EcaModule
from timm.layers.gather_excite import GatherExcite
from timm.layers.squeeze_excite import EffectiveSEModule
from torch import nn

SHAPES = ((4, 48, 3, 2), (2, 64, 3, 2, 4))
"""Images, and volumes: what is gathered over all of space is the same for a volume with two of its axes made one."""

MAPS = {48: (3, 2), 64: (6, 4)}
"""Of the global gathering kernels, by the channels above."""


class StyleRecalibration(nn.Module):
    """x sigmoid(BN(a mean + b std)), for each channel, with the unbiased variance plus 1e-5 under the root."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cfc = nn.Parameter(torch.zeros(channels, 2))
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        variance, mean = torch.var_mean(flat, dim=2, correction=1)
        logit = self.bn(self.cfc[:, 0] * mean + self.cfc[:, 1] * torch.sqrt(variance + 1e-5))
        return x * torch.sigmoid(logit)[..., None, None]


class NormalisationAttention(nn.Module):
    """x sigmoid(w BN(x)) with w the share of each |gamma| in their sum, which gets no gradient."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = self.bn.weight.detach().abs()
        return x * torch.sigmoid(self.bn(x) * (size / size.sum())[:, None, None])


def gather_excite(channels: int, rectified: bool = False, **options: object) -> nn.Module:
    """timm's, with two corrections to what the authors' models have.

    Their global convolutions are not padded, so that one number remains, and their theta plus has a ReLU after the
    gathering convolutions (`rectified`).
    """
    module = GatherExcite(channels, feat_size=MAPS.get(channels), **options)
    if module.gather is not None and not module.extent:
        module.gather.conv1.padding = (0, 0)
    if rectified:
        module.gather.add_module("act", nn.ReLU())
    return module


def frequency(channels: int, grids: dict[int, tuple[int, int]]) -> nn.Module:
    module = MultiSpectralAttentionLayer(channels, *grids[channels])
    basis = module.dct_layer.weight
    del module.dct_layer.weight
    # What is persistent would be taken for a weight.
    module.dct_layer.register_buffer("weight", basis, persistent=False)
    return module


def merged(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the module makes of a map, all but the last of whose axes are one."""
    return module(x.flatten(2, -2)).reshape(x.shape)


def main() -> None:
    make = functools.partial(record, shapes=SHAPES, run=merged)
    # The gradient of timm's default, torch's own hard sigmoid, is good to seven digits.
    ese = functools.partial(EffectiveSEModule, gate_layer=HardSigmoid)
    make("ese", ese, "fc.weight", packages=("timm",))
    make("eca", EcaModule, "conv.weight", shapes=((4, 48, 3, 2), (1, 128, 3, 2, 4)), packages=("timm",))
    make("eca_7", lambda c: EcaModule(kernel_size=7), "conv.weight", packages=("timm",))

    def ge(name: str, watched: str, **options: object) -> None:
        size = options.get("extent")
        shapes = ((4, 48, 9, 6), (1, 64, 5, 16)) if size else SHAPES
        module = functools.partial(gather_excite, **{"use_mlp": False} | options)
        make(name, module, watched, shapes=shapes, packages=("timm",))

    ge("ge", "")
    ge("ge_minus_4", "", extent=4)
    ge("ge_theta", "gather.conv1.weight", extra_params=True)
    ge("ge_theta_8", "gather.conv2.weight", extra_params=True, extent=8)
    ge("ge_plus", "mlp.fc1.weight", extra_params=True, use_mlp=True, rectified=True)
    ge("ge_plus_2", "gather.conv1.weight", extra_params=True, use_mlp=True, rectified=True, extent=2)

    make("srm", StyleRecalibration, "cfc")
    make("gct", GCT, "alpha", packages=("attentionmechanism",))
    make("gct_l1", lambda c: GCT(c, mode="l1"), "alpha", packages=("attentionmechanism",))
    make("nam", NormalisationAttention, "bn.weight")
    groups = {96: 48, 128: 64}
    shapes = ((2, 96, 3, 2), (1, 128, 3, 2, 4))
    make("sge", lambda c: SpatialGroupEnhance(groups[c]), "weight", shapes=shapes, packages=("fightingcv-attention",))
    make("sge_8", lambda c: SpatialGroupEnhance(8), "weight", packages=("fightingcv-attention",))

    def fca(name: str, watched: str, grids: dict[int, tuple[int, int]], shapes: tuple[tuple[int, ...], ...]) -> None:
        make(name, functools.partial(frequency, grids=grids), watched, shapes=shapes, packages=("attentionmechanism",))

    fca("fca", "fc.0.weight", {48: (7, 7), 64: (14, 28)}, ((2, 48, 3, 2), (1, 64, 14, 31)))
    fca("fca_14", "fc.2.weight", {48: (14, 14), 64: (14, 14)}, ((2, 48, 14, 5), (1, 64, 29, 16)))


if __name__ == "__main__":
    main()
