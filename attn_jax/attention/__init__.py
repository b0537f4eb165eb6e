"""Attention mechanisms, one to a file: linen modules from `[B, *space, C]` to the same shape.

    module = attention.create("cbam", reduction=8)
    y, state = module.apply(variables, x, train=True, mutable=["batch_stats"])

Each sows its maps into the collection `"attention"`; ask for them with `mutable=["attention"]`.

Negative controls are `"identity"`, `"bottleneck"`, `"random_gate"` and, for any mechanism that has maps,
`"shuffled:cbam"` or `"shuffled:package.module:Class"`: it uses its maps with their values in the wrong places.
"""

import dataclasses
import importlib
from collections.abc import Callable

from flax import linen as nn

from attn_jax.attention.augmented import AA
from attn_jax.attention.bam import BAM
from attn_jax.attention.bottleneck import Bottleneck
from attn_jax.attention.caa import CAA
from attn_jax.attention.cbam import CBAM
from attn_jax.attention.coordinate import Coordinate
from attn_jax.attention.criss_cross import CrissCross
from attn_jax.attention.cse import CSE
from attn_jax.attention.double import Double
from attn_jax.attention.dual import Dual
from attn_jax.attention.eca import ECA
from attn_jax.attention.ela import ELA
from attn_jax.attention.ema import EMA
from attn_jax.attention.ese import ESE
from attn_jax.attention.external import External
from attn_jax.attention.fca import FCA
from attn_jax.attention.gate import AttentionGate
from attn_jax.attention.gc import GC
from attn_jax.attention.gct import GCT
from attn_jax.attention.ge import GE
from attn_jax.attention.halo import Halo
from attn_jax.attention.identity import Identity
from attn_jax.attention.lambda_layer import LambdaLayer
from attn_jax.attention.lka import LKA
from attn_jax.attention.lsk import LSK
from attn_jax.attention.mca import MCA
from attn_jax.attention.mhsa import MHSA
from attn_jax.attention.nam import NAM
from attn_jax.attention.non_local import NonLocal
from attn_jax.attention.polarized import ParallelPSA, SequentialPSA
from attn_jax.attention.random_gate import RandomGate
from attn_jax.attention.scsa import SCSA
from attn_jax.attention.scse import SCSE
from attn_jax.attention.se import SE
from attn_jax.attention.sge import SGE
from attn_jax.attention.shuffle import Shuffle
from attn_jax.attention.shuffled import shuffle_maps
from attn_jax.attention.simam import SimAM
from attn_jax.attention.sk import SK
from attn_jax.attention.split import SplitAttention
from attn_jax.attention.srm import SRM
from attn_jax.attention.sse import SSE
from attn_jax.attention.triplet import Triplet
from attn_jax.errors import UserError, did_you_mean

MECHANISMS: dict[str, type[nn.Module]] = {
    "se": SE,
    "ese": ESE,
    "eca": ECA,
    "ge": GE,
    "srm": SRM,
    "gct": GCT,
    "fca": FCA,
    "nam": NAM,
    "sge": SGE,
    "sse": SSE,
    "cse": CSE,
    "scse": SCSE,
    "cbam": CBAM,
    "bam": BAM,
    "triplet": Triplet,
    "coordinate": Coordinate,
    "simam": SimAM,
    "shuffle": Shuffle,
    "ema": EMA,
    "mca": MCA,
    "ela": ELA,
    "caa": CAA,
    "scsa": SCSA,
    "psa_p": ParallelPSA,
    "psa_s": SequentialPSA,
    "lka": LKA,
    "lsk": LSK,
    "gc": GC,
    "non_local": NonLocal,
    "double": Double,
    "criss_cross": CrissCross,
    "dual": Dual,
    "external": External,
    "gate": AttentionGate,
    "sk": SK,
    "split": SplitAttention,
    "aa": AA,
    "mhsa": MHSA,
    "halo": Halo,
    "lambda": LambdaLayer,
    "identity": Identity,
    "bottleneck": Bottleneck,
    "random_gate": RandomGate,
}

SHUFFLED = "shuffled:"

__all__ = [
    "AA",
    "AttentionGate",
    "BAM",
    "Bottleneck",
    "CAA",
    "CBAM",
    "CSE",
    "Coordinate",
    "CrissCross",
    "Double",
    "Dual",
    "ECA",
    "ELA",
    "EMA",
    "ESE",
    "External",
    "FCA",
    "GC",
    "GCT",
    "GE",
    "Halo",
    "Identity",
    "LKA",
    "LSK",
    "LambdaLayer",
    "MCA",
    "MECHANISMS",
    "MHSA",
    "NAM",
    "NonLocal",
    "ParallelPSA",
    "RandomGate",
    "SCSA",
    "SCSE",
    "SE",
    "SGE",
    "SHUFFLED",
    "SK",
    "SRM",
    "SSE",
    "SequentialPSA",
    "Shuffle",
    "SimAM",
    "SplitAttention",
    "Triplet",
    "create",
]


def create(mechanism: str | Callable[..., nn.Module] | None, **options: object) -> nn.Module | None:
    """Makes a mechanism with `options` as its fields.

    Args:
        mechanism: a name in `MECHANISMS`, `"package.module:Class"`, either of them after `"shuffled:"`, a class or
            function that returns a linen module, or `"none"` or `None` for no mechanism.
        **options: the mechanism's fields (`reduction=8`); what is not given keeps the class's default; the head
            of its file says where that is not the authors' code.

    Raises:
        UserError: nothing has this name, or an option is not a field of the mechanism.
    """
    if mechanism is None or mechanism == "none":
        if options:
            raise UserError(f"attention 'none' takes no options, but got {', '.join(sorted(options))}")
        return None
    make = _find(mechanism) if isinstance(mechanism, str) else mechanism
    label = mechanism if isinstance(mechanism, str) else getattr(make, "__name__", repr(make))
    if dataclasses.is_dataclass(make):
        fields = [f.name for f in dataclasses.fields(make) if f.init and f.name not in ("parent", "name")]
        for option in options:
            if option not in fields:
                raise UserError(f"attention {label!r} has no option {option!r}.{did_you_mean(option, fields)}")
    try:
        module = make(**options)
    except TypeError as error:
        raise UserError(f"attention {label!r} cannot be made with {options}: {error}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"attention {label!r} makes a {type(module).__name__}, not a flax.linen Module")
    return module


def _find(name: str) -> Callable[..., nn.Module]:
    if name in MECHANISMS:
        return MECHANISMS[name]
    if name.startswith(SHUFFLED):
        return _find_shuffled(name.removeprefix(SHUFFLED))
    if ":" not in name:
        raise UserError(f"attention {name!r} is unknown.{did_you_mean(name, [*MECHANISMS, 'none'])}")
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"attention {name!r} cannot be imported: {error}") from error


def _find_shuffled(name: str) -> type[nn.Module]:
    if name == "none" or name.startswith(SHUFFLED):
        raise UserError(f"attention '{SHUFFLED}{name}': after {SHUFFLED!r} stands a mechanism, as in 'shuffled:cbam'")
    mechanism = _find(name)
    is_class = isinstance(mechanism, type) and issubclass(mechanism, nn.Module)
    if not is_class:
        raise UserError(f"attention '{SHUFFLED}{name}': {name!r} is not a class of flax.linen modules")
    return shuffle_maps(mechanism)
