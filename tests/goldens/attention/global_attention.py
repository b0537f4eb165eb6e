"""The non-local block of timm, the dual attention of pytorchcv, and the others from their authors' formulas, in loops.

Made with torch 2.14.1, timm 1.0.31 and pytorchcv 0.0.74: `python tests/goldens/attention/global_attention.py`.
"""

import functools
import itertools

import torch
import torch.nn.functional as F
from pytorchcv.models.danet import ChaAttBlock, PosAttBlock
from record import record
from timm.layers.non_local_attn import NonLocalAttn
from torch import nn

VOLUMES = ((2, 16, 2, 5, 3), (1, 32, 4, 1, 2))
"""[B, C, *space]"""


def timm_block(channels: int) -> nn.Module:
    """timm's block with the hidden channels of the authors, and with the scale that belongs to them."""
    block = NonLocalAttn(channels, rd_channels=channels // 2)
    block.scale = (channels // 2) ** -0.5
    return block


class NonLocal(nn.Module):
    """x_i + W_z sum_j softmax_j(s theta(x_i) . phi(x_j)) g(x_j), query after query; all of the authors' with `full`."""

    def __init__(self, channels: int, dimensions: int, full: bool, scale: bool = True) -> None:
        super().__init__()
        conv, norm, pool = {
            2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
            3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d),
        }[dimensions]
        hidden = channels // 2
        self.theta, self.phi, self.g = (conv(channels, hidden, 1, bias=full) for _ in range(3))
        self.out = conv(hidden, channels, 1, bias=full)
        self.full = full
        if full:
            self.norm = norm(channels)
        self.pool = pool
        self.scale = hidden**-0.5 if scale else 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = x
        if self.full:
            pooled = self.pool([min(2, side) for side in x.shape[2:]])(x)
        queries, keys, values = self.theta(x).flatten(2), self.phi(pooled).flatten(2), self.g(pooled).flatten(2)
        columns = []
        for i in range(queries.shape[2]):
            similarity = (self.scale * (queries[:, :, i, None] * keys).sum(1)).exp()
            columns.append((values * (similarity / similarity.sum(1, keepdim=True))[:, None]).sum(2))
        y = self.out(torch.stack(columns, 2).unflatten(2, x.shape[2:]))
        return x + (self.norm(y) if self.full else y)


class Double(nn.Module):
    """x_i + W sum_k softmax_k(v_ki) sum_j softmax_j(b_kj) a_j, descriptor after descriptor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.a, self.b, self.v = (nn.Conv2d(channels, hidden, 1) for _ in range(3))
        self.out = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features, shares = self.a(x), self.v(x).exp()
        shares = shares / shares.sum(1, keepdim=True)
        total = torch.zeros_like(features)
        for k, logits in enumerate(self.b(x).unbind(1)):
            weights = logits.exp() / logits.exp().sum((1, 2), keepdim=True)
            descriptor = (features * weights[:, None]).sum((2, 3), keepdim=True)
            total = total + shares[:, k, None] * descriptor
        return x + self.out(total)


class CrissCross(nn.Module):
    """Two passes of gamma sum_j softmax_j(q_i . k_j) v_j + x_i over the set of places j in line with i."""

    def __init__(self, channels: int, conv: type[nn.Module]) -> None:
        super().__init__()
        self.query_conv, self.key_conv = (conv(channels, channels // 8, 1) for _ in range(2))
        self.value_conv = conv(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = self.gamma * self.one_pass(x) + x
        return x

    def one_pass(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (conv(x).flatten(2) for conv in (self.query_conv, self.key_conv, self.value_conv))
        places = list(itertools.product(*map(range, x.shape[2:])))
        columns = []
        for i, here in enumerate(places):
            in_line = [
                j for j, there in enumerate(places) if sum(a != b for a, b in zip(here, there, strict=True)) <= 1
            ]
            weights = torch.einsum("bc,bcj->bj", query[:, :, i], key[:, :, in_line]).softmax(1)
            columns.append(torch.einsum("bj,bcj->bc", weights, value[:, :, in_line]))
        return torch.stack(columns, 2).unflatten(2, x.shape[2:])


class Dual(nn.Module):
    """The sum of pytorchcv's two modules."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position, self.channel = PosAttBlock(channels), ChaAttBlock()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.position(x) + self.channel(x)


class External(nn.Module):
    """relu(x + BN(W2 M_v^T l1(softmax_n(M_k (W1 x + b))))), with M_v = M_k where tied."""

    def __init__(self, channels: int, tied: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.linear_0 = nn.Linear(channels, 64, bias=False)
        if not tied:
            self.linear_1 = nn.Linear(64, channels, bias=False)
        self.conv2 = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.tied = tied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.linear_0(self.conv1(x).movedim(1, 3)).exp()
        weights = weights / weights.sum((1, 2), keepdim=True)
        weights = weights / (1e-9 + weights.sum(3, keepdim=True))
        values = self.linear_0.weight if self.tied else self.linear_1.weight.T
        return torch.relu(x + self.conv2((weights @ values).movedim(3, 1)))


class Gate(nn.Module):
    """BN(W (alpha x)), where alpha is the interpolated sigmoid or softmax of psi relu(theta x + up(phi g))."""

    def __init__(self, channels: int, gating: int, dimensions: int, softmax: bool) -> None:
        super().__init__()
        conv, norm = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[dimensions]
        hidden = channels // 2
        self.theta = conv(channels, hidden, 2, 2, bias=False)
        self.phi, self.psi = conv(gating, hidden, 1), conv(hidden, 1, 1)
        self.W = nn.Sequential(conv(channels, channels, 1), norm(channels))
        self.resize = functools.partial(F.interpolate, mode={2: "bilinear", 3: "trilinear"}[dimensions])
        self.softmax = softmax

    def forward(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        own = self.theta(x)
        logits = self.psi(torch.relu(own + self.resize(self.phi(g), own.shape[2:])))
        gate = logits.flatten(2).softmax(2).view_as(logits) if self.softmax else logits.sigmoid()
        return self.W(self.resize(gate, x.shape[2:]) * x)


def ungated_output(channels: int) -> nn.Module:
    """The paper's gate, whose output is the product itself."""
    gate = Gate(channels, 3 * channels // 4, 2, softmax=False)
    gate.W = nn.Identity()
    return gate


def coarser(x: torch.Tensor) -> torch.Tensor:
    """A signal for the gate: every second position of the first three quarters of the channels."""
    return x[:, : 3 * x.shape[1] // 4][(..., *[slice(None, None, 2)] * (x.dim() - 2))]


def flattened(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A 2-D module on volumes, whose first two axes become one: for those to which only the set of positions counts."""
    return module(x.flatten(2, 3)).view_as(x)


def main() -> None:
    record("non_local", lambda c: NonLocal(c, 2, full=False), "theta.weight")
    record("non_local_authors", lambda c: NonLocal(c, 2, full=True), "g.weight")
    record("non_local_timm", timm_block, "p.weight", packages=("timm",))
    record("non_local_3d", lambda c: NonLocal(c, 3, full=True, scale=False), "phi.weight", shapes=VOLUMES)
    record("double", Double, "b.weight")
    record("double_3d", Double, "v.weight", shapes=VOLUMES, run=flattened)
    record("criss_cross", lambda c: CrissCross(c, nn.Conv2d), "key_conv.weight")
    record("criss_cross_3d", lambda c: CrissCross(c, nn.Conv3d), "query_conv.weight", shapes=VOLUMES)
    record("dual", Dual, "position.key_conv.weight", packages=("pytorchcv",))
    record("dual_3d", Dual, "channel.scale.alpha", shapes=VOLUMES, packages=("pytorchcv",), run=flattened)
    record("external", lambda c: External(c, tied=True), "linear_0.weight")
    record("external_untied", lambda c: External(c, tied=False), "linear_1.weight")
    record("external_3d", lambda c: External(c, tied=True), "conv1.weight", shapes=VOLUMES, run=flattened)

    images, volumes = ((2, 48, 6, 4), (1, 64, 5, 4)), ((2, 16, 4, 5, 2), (1, 32, 2, 4, 8))
    signalled = {"shapes": images, "run": lambda module, x: module(x, coarser(x))}
    record("gate", lambda c: Gate(c, 3 * c // 4, 2, softmax=False), "phi.weight", **signalled)
    record("gate_paper", ungated_output, "psi.weight", **signalled)
    record("gate_residual", lambda c: Gate(c, 3 * c // 4, 2, softmax=True), "psi.weight", **signalled)
    alone = {"shapes": volumes, "run": lambda module, x: module(x, F.avg_pool3d(x, 2))}
    record("gate_alone_3d", lambda c: Gate(c, c, 3, softmax=False), "theta.weight", **alone)


if __name__ == "__main__":
    main()
