"""Attention mechanisms, one to a file: linen modules from `[B, *space, C]` to the same shape.

    module = attention.create("cbam", reduction=8)
    y, state = module.apply(variables, x, train=True, mutable=["batch_stats"])

Each sows its maps into the collection `"attention"`; ask for them with `mutable=["attention"]`.
"""

import dataclasses
import importlib
from collections.abc import Callable

from flax import linen as nn

from attn_jax.attention.cbam import CBAM
from attn_jax.attention.gc import GC
from attn_jax.attention.se import SE
from attn_jax.errors import UserError, did_you_mean

MECHANISMS: dict[str, type[nn.Module]] = {
    "se": SE,
    "cbam": CBAM,
    "gc": GC,
}

__all__ = ["CBAM", "GC", "MECHANISMS", "SE", "create"]


def create(mechanism: str | Callable[..., nn.Module] | None, **options: object) -> nn.Module | None:
    """Makes a mechanism with `options` as its fields.

    Args:
        mechanism: a name in `MECHANISMS`, `"package.module:Class"`, a class or function that returns a linen module, or
            `"none"` or `None` for no mechanism.
        **options: the mechanism's fields (`reduction=8`); what is not given keeps the default of the paper's code.

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
    if ":" not in name:
        raise UserError(f"attention {name!r} is unknown.{did_you_mean(name, [*MECHANISMS, 'none'])}")
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"attention {name!r} cannot be imported: {error}") from error
