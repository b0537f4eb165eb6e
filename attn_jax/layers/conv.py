"""Convolution with explicit, PyTorch-like padding, in the formulation that is fast on the platform it runs on."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from attn_jax.layers import grouped
from attn_jax.layers.devices import one_device
from attn_jax.layers.geometry import Geometry
from attn_jax.layers.initializers import kaiming_fan_out


def convolve(
    x: Float[Array, "B *space C"],
    kernel: Float[Array, "*window _ F"],
    *,
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Float[Array, "B *out F"]:
    """Cross-correlates `x` with `kernel`.

    `strides`, `padding` (zeros before and after) and `dilation` have one entry per spatial axis.
    """
    window = kernel.shape[:-2]
    if groups == 1 and set(window) == {1} and not any(map(any, padding)):
        x = x[(slice(None), *(slice(None, None, step) for step in strides))]
        return product(x, kernel.reshape(kernel.shape[-2:]))
    geometry = Geometry(window, strides, padding, dilation)
    if groups == 1:
        return _convolve(geometry, x, kernel)
    return grouped.convolve(geometry, _convolve, x, kernel, groups)


@jax.custom_vjp
def product(x: Float[Array, "*any C"], kernel: Float[Array, "C F"]) -> Float[Array, "*any F"]:
    """The matrix product over channels.

    The kernel's gradient is asked for in the order in which XLA on a CPU transposes the smaller array; the order of
    JAX's own rule takes three times as long (64 to 256 channels on 56 x 56: 53 and 14 ms).
    """
    return jnp.dot(x, kernel)


def _product_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return jnp.dot(x, kernel), (x, kernel)


def _product_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dkernel = lax.platform_dependent(x, dy, cpu=_kernel_gradient_of_stored, default=_kernel_gradient)
    return jnp.dot(dy, kernel.T), dkernel


def _kernel_gradient(x: Array, dy: Array) -> Array:
    others = tuple(range(x.ndim - 1))
    return lax.dot_general(x, dy, ((others, others), ((), ())))


def _kernel_gradient_of_stored(x: Array, dy: Array) -> Array:
    """The same from flat arrays that lie in memory: else XLA on a CPU computes `x` again, against its order, while it
    transposes it. With several devices, flattening could gather a partitioned axis."""
    if not one_device():
        return _kernel_gradient(x, dy)
    x, dy = lax.optimization_barrier((x, dy))
    return _kernel_gradient(x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1]))


product.defvjp(_product_forward, _product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(geometry: Geometry, x: Array, kernel: Array) -> Array:
    ways = {"cpu": geometry.fast_convolve(x, kernel)}
    axis = geometry.folded(x, kernel)
    if axis is not None:
        ways["tpu"] = functools.partial(geometry.convolve_folded, axis)
    return _on_platform(ways, geometry.convolve, x, kernel)


def _forward(geometry: Geometry, x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(geometry, x, kernel), (x, kernel)


def _backward(geometry: Geometry, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    to_x = {"cpu": geometry.fast_input_gradient(x, kernel)}
    to_kernel = {"cpu": geometry.fast_kernel_gradient(kernel)}
    axis = geometry.folded(x, kernel)
    if axis is not None:
        to_x["tpu"] = functools.partial(geometry.input_gradient_folded, axis)
        to_kernel["tpu"] = functools.partial(geometry.kernel_gradient_folded, axis)
    dx = _on_platform(to_x, geometry.input_gradient, x, kernel, dy)
    return dx, _on_platform(to_kernel, geometry.kernel_gradient, x, kernel, dy)


def _on_platform(ways: dict[str, Callable[..., Array]], default: Callable[..., Array], *arrays: Array) -> Array:
    ways = {platform: way for platform, way in ways.items() if way != default}
    return lax.platform_dependent(*arrays, default=default, **ways) if ways else default(*arrays)


_convolve.defvjp(_forward, _backward)


class Conv(nn.Module):
    """A convolution with parameters `kernel` [*window, in, out] and `bias`, as linen's.

    A number for `kernel_size`, `strides`, `padding` or `dilation` holds for every spatial axis. `padding` counts zeros
    on both sides of an axis, or before and after it where it has a pair for each; `None` is half the (dilated) window,
    which keeps the size at stride 1 if that is odd.
    """

    features: int
    kernel_size: int | tuple[int, ...]
    strides: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] | tuple[tuple[int, int], ...] | None = None
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    use_bias: bool = False
    kernel_init: nn.initializers.Initializer = kaiming_fan_out
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *out F"]:
        def per_axis(value: int | tuple[Any, ...]) -> tuple[Any, ...]:
            return (value,) * (x.ndim - 2) if isinstance(value, int) else value

        window, strides, dilation = map(per_axis, (self.kernel_size, self.strides, self.dilation))
        padding = tuple(d * (k - 1) // 2 for k, d in zip(window, dilation, strict=True))
        if self.padding is not None:
            padding = per_axis(self.padding)
        shape = (*window, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        pairs = tuple(p if isinstance(p, tuple) else (p, p) for p in padding)
        y = convolve(x, kernel, strides=strides, padding=pairs, dilation=dilation, groups=self.groups)
        return y if bias is None else y + bias
