"""Where a network takes an attention mechanism, without knowing which."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.errors import UserError, did_you_mean

PLACEMENTS: tuple[str, ...] = ("block", "stage", "conv")
RESNET_STRIDES = (4, 8, 16, 32)
"""Of the image, after each stage."""


class FromIdentity(nn.Module):
    """`x + alpha * (mechanism(x) - x)` with one trained number `alpha` that starts at 0 (ReZero, arXiv 2003.04887).

    Whatever the mechanism does to its input at initialisation, a pretrained network starts from its own function; how
    much of its input the mechanism replaces is learned. Not for one that is the identity at initialisation already:
    no number could then be learned, for each one's gradient would be a multiple of another's zero.
    """

    mechanism: nn.Module
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        alpha = self.param("alpha", nn.initializers.zeros, (), self.param_dtype)
        return x + alpha.astype(x.dtype) * (self.mechanism(x, train=train) - x)


@dataclasses.dataclass(frozen=True)
class Slot:
    """An unbound mechanism and the places that get a copy of it.

    `placement` is `"block"` (in the residual branch after its last norm), `"stage"` (after a stage) or `"conv"`
    (instead of a 3 x 3 convolution); `stages` counts from 1. `template=None` is a slot that stays empty.
    `identity_start` puts each copy into a `FromIdentity`, unless it says that it `starts_as_identity`.
    """

    template: nn.Module | None = None
    placement: str = "block"
    stages: tuple[int, ...] = (1, 2, 3, 4)
    identity_start: bool = False

    def takes(self, placement: str, stage: int) -> bool:
        """Whether this place of this stage gets a mechanism."""
        return self.template is not None and placement == self.placement and stage in self.stages

    @property
    def normalises(self) -> bool:
        """Whether the mechanism ends in a normalisation and an activation, so that none follows in its place."""
        return bool(getattr(self.template, "normalised", False))

    def make(self, parent: nn.Module, name: str, **fields: Any) -> nn.Module:
        """A copy of the mechanism inside `parent`, with those of `fields` that it has."""
        assert self.template is not None
        own = _fields(self.template)
        options = {field: value for field, value in fields.items() if field in own}
        if not self.identity_start or getattr(self.template, "starts_as_identity", False):
            return self.template.clone(parent=parent, name=name, **options)
        inner = self.template.clone(parent=None, name=None, **options)
        return FromIdentity(inner, fields.get("param_dtype", jnp.float32), parent=parent, name=name)


def make_slot(
    template: nn.Module | None,
    placement: str | None = None,
    stages: tuple[int, ...] = (),
    strides: tuple[int, ...] = RESNET_STRIDES,
    identity_start: bool = False,
) -> Slot:
    """A slot for `template`, whose usual placement and stages are taken where none are given.

    `strides` has one number for each stage of the network: how many pixels of the image lie between two positions of
    its output. A mechanism without usual stages gets all. Usual ones are those of a ResNet: another network's are those
    of the same stride, in placement `"stage"` the last of them; of its largest stride where it has none as large.

    Raises:
        UserError: unknown placement or stage, or a mechanism that cannot stand (only) in place of a convolution.
    """
    available = tuple(range(1, len(strides) + 1))
    unknown = sorted(set(stages) - set(available))
    if unknown:
        raise UserError(f"stages: {unknown[0]!r} is none of the network's stages {', '.join(map(str, available))}")
    if placement is not None and placement not in PLACEMENTS:
        raise UserError(f"placement {placement!r} is unknown.{did_you_mean(placement, PLACEMENTS)}")
    if template is None:
        return Slot(None, placement or "block", stages or available)
    replaces = {"features", "strides"} <= _fields(template)
    placement = placement or str(getattr(template, "usual_placement", "conv" if replaces else "block"))
    if replaces != (placement == "conv"):
        name = type(template).__name__
        verb = "replaces a convolution" if replaces else "keeps its input's shape"
        fitting = "'conv'" if replaces else "'block' or 'stage'"
        raise UserError(f"attention {name} {verb}: its placement is {fitting}, not {placement!r}")
    if replaces and identity_start:
        raise UserError(f"identity_start: {type(template).__name__} replaces a convolution; it cannot start as nothing")
    return Slot(template, placement, stages or _usual_stages(template, placement, strides), identity_start)


def _usual_stages(template: nn.Module, placement: str, strides: tuple[int, ...]) -> tuple[int, ...]:
    if not (usual := getattr(template, "usual_stages", ())):
        return tuple(range(1, len(strides) + 1))
    wanted = {min(RESNET_STRIDES[stage - 1], max(strides)) for stage in usual}
    found = {stride: [i for i, own in enumerate(strides, start=1) if own == stride] for stride in sorted(wanted)}
    return tuple(stage for stages in found.values() for stage in (stages[-1:] if placement == "stage" else stages))


def _fields(module: nn.Module) -> set[str]:
    return {field.name for field in dataclasses.fields(module)}
