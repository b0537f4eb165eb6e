"""Convolutions whose channels are cut into groups that do not meet.

XLA on a CPU (jax 0.10.2) takes 50 to 200 times as long for a grouped convolution's gradients as for a dense one's, and
its partitioner gathers the batch. Both are avoided by dense convolutions of several groups at a time, with zeros where
a kernel would lead from one group to another, and where each channel is its own group by a sum of shifted products.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from attn_jax.layers.geometry import Geometry

CPU_WIDTH = 32
"""Channels of a dense convolution of several groups; of 16, 32, 64 and 128 the fastest for ResNeXt-50."""
TPU_WIDTH = 128
"""Fills the matrix unit."""

Dense = Callable[[Geometry, Array, Array], Array]


def convolve(
    geometry: Geometry, dense: Dense, x: Float[Array, "B *space C"], kernel: Float[Array, "*window _ F"], groups: int
) -> Float[Array, "B *out F"]:
    """The convolution of each group of channels with its own kernels; `dense` computes those without groups."""

    def of_width(width: int) -> Callable[[Array, Array], Array]:
        return lambda x, kernel: by_blocks(geometry, dense, x, kernel, groups, width)

    def plain(x: Array, kernel: Array) -> Array:
        return geometry.convolve(x, kernel, groups)

    if groups == x.shape[-1] == kernel.shape[-1] and geometry.few_elements():
        return lax.platform_dependent(x, kernel, cpu=geometry.shifted_products, default=plain)
    return lax.platform_dependent(x, kernel, cpu=of_width(CPU_WIDTH), tpu=of_width(TPU_WIDTH), default=plain)


def by_blocks(
    geometry: Geometry,
    dense: Dense,
    x: Float[Array, "B *space C"],
    kernel: Float[Array, "*window _ F"],
    groups: int,
    width: int,
) -> Float[Array, "B *out F"]:
    """Dense convolutions of as many groups at a time as have at most `width` channels."""
    inputs, outputs = x.shape[-1] // groups, kernel.shape[-1] // groups
    together = next(n for n in range(max(1, min(groups, width // inputs)), 0, -1) if groups % n == 0)
    apart = jnp.eye(together, dtype=kernel.dtype)
    parts = []
    for first in range(0, groups, together):
        own = kernel[..., first * outputs : (first + together) * outputs]
        own = own.reshape(*own.shape[:-1], together, outputs)
        block = jnp.einsum("...cgf,gh->...hcgf", own, apart)
        block = block.reshape(*kernel.shape[:-2], together * inputs, together * outputs)
        parts.append(dense(geometry, x[..., first * inputs : (first + together) * inputs], block))
    return jnp.concatenate(parts, axis=-1)
