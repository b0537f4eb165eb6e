"""Batch and group normalisation with PyTorch's defaults."""

import functools
import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float


class BatchNorm(nn.Module):
    """Batch normalisation over everything but the channels, arXiv 1502.03167; variables are named as in linen.

    Statistics are kept and computed in `promote_types(dtype, float32)`. Under `jit` over a mesh they are those of the
    global batch; under `pmap`, name the mapped axis. The running variance is the biased one (PyTorch's is not).
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        return self.jointly([x], train=train)[0]

    @nn.compact
    def jointly(self, parts: Sequence[Float[Array, "B *space C"]], *, train: bool) -> list[Float[Array, "B *space C"]]:
        """Normalises several arrays by their common statistics, as if they had been joined along an axis of space."""
        channels, given = parts[0].shape[-1:], parts[0].dtype
        dtype = self.dtype or given
        wide = jnp.promote_types(given, jnp.float32)
        stored = jnp.promote_types(self.param_dtype, jnp.float32)
        scale = self.param("scale", self.scale_init, channels, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, channels, self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, stored)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, stored)
        if train:
            mean, var = self._batch_statistics([x.astype(wide) for x in parts])
            if not self.is_initializing():
                for running, batch in ((running_mean, mean), (running_var, var)):
                    running.value = self.momentum * running.value + (1 - self.momentum) * batch.astype(stored)
        else:
            # One product and one sum, which XLA joins with the convolution before.
            mean, var = running_mean.value, running_var.value
            factor = scale * lax.rsqrt(var + self.epsilon)
            return [(x * factor + (bias - mean * factor)).astype(dtype) for x in parts]
        return [((x - mean) * (scale * lax.rsqrt(var + self.epsilon)) + bias).astype(dtype) for x in parts]

    def _batch_statistics(
        self, parts: Sequence[Float[Array, "B *space C"]]
    ) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
        def mean_of(parts: Sequence[Array]) -> Array:
            count = sum(math.prod(x.shape[:-1]) for x in parts)
            mean = functools.reduce(jnp.add, [x.sum(tuple(range(x.ndim - 1))) for x in parts]) / count
            if self.axis_name is not None and not self.is_initializing():
                mean = lax.pmean(mean, self.axis_name)
            return mean

        mean = mean_of(parts)
        return mean, mean_of([jnp.square(x - mean) for x in parts])


class GroupNorm(nn.Module):
    """Group normalisation, arXiv 1803.08494: each image's channels in `groups` equal groups, over space.

    Statistics in `promote_types(dtype, float32)`; parameters `scale` and `bias` [C].
    """

    groups: int
    epsilon: float = 1e-5
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *space C"]:
        channels = x.shape[-1]
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(*x.shape[:-1], self.groups, -1)
        axes = (*range(1, x.ndim - 1), x.ndim)
        centred = wide - wide.mean(axes, keepdims=True)
        var = jnp.square(centred).mean(axes, keepdims=True)
        scale = self.param("scale", nn.initializers.ones, (channels,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        normal = (centred * lax.rsqrt(var + self.epsilon)).reshape(x.shape)
        return (normal * scale + bias).astype(self.dtype or x.dtype)
