"""Dropout of values and of whole residual branches, with the same numbers under `jit` and `pmap`.

Both draw from the rng `"dropout"`: `model.apply(variables, x, train=True, rngs={"dropout": key})`.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float


class Dropout(nn.Module):
    """Improving neural networks by preventing co-adaptation of feature detectors, arXiv 1207.0580.

    In training each value is zero with probability `rate` and otherwise divided by `1 - rate`.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B *shape"], *, train: bool) -> Float[Array, "B *shape"]:
        return _drop(self, x, x.shape) if train else x


class DropPath(nn.Module):
    """Deep Networks with Stochastic Depth, arXiv 1603.09382.

    In training an image loses the whole branch with probability `rate`; for others it is divided by `1 - rate`, as
    torchvision does, so that evaluation takes it as it is (the paper scales in evaluation).
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B *shape"], *, train: bool) -> Float[Array, "B *shape"]:
        return _drop(self, x, (x.shape[0], *(1,) * (x.ndim - 1))) if train else x


def _drop(module: Dropout | DropPath, x: Array, shape: tuple[int, ...]) -> Array:
    if module.rate == 0 or module.is_initializing():
        return x
    keep = 1 - module.rate
    return jnp.where(kept(module.make_rng("dropout"), keep, shape, module.axis_name), x / keep, 0)


def kept(key: jax.Array, keep: float, shape: tuple[int, ...], axis_name: str | None) -> Bool[Array, "B *shape"]:
    """True with probability `keep`; under a mapped axis this device's rows of what `jit` draws for the whole batch."""
    if axis_name is None:
        return jax.random.bernoulli(key, keep, shape)
    whole = jax.random.bernoulli(key, keep, (shape[0] * lax.axis_size(axis_name), *shape[1:]))
    return lax.dynamic_slice_in_dim(whole, lax.axis_index(axis_name) * shape[0], shape[0])
