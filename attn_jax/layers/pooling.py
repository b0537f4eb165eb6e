"""Pooling with PyTorch's semantics, channels last, any number of spatial axes."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from attn_jax.layers.devices import one_device


def max_pool(x: Float[Array, "B *space C"], *, window: int, strides: int, padding: int) -> Float[Array, "B *out C"]:
    """The largest value of each window; padding counts as minus infinity.

    The gradient goes to the first of those that are equal, as in PyTorch.
    """
    plain = functools.partial(_max_pool, window, strides, padding)
    # XLA on a CPU takes several times as long for its own gradient; with several devices a partitioner would gather
    # what is read with a stride.
    if not one_device():
        return plain(x)
    return lax.platform_dependent(x, cpu=functools.partial(_max_pool_on_cpu, window, strides, padding), default=plain)


def _max_pool(window: int, strides: int, padding: int, x: Array) -> Array:
    spatial = x.ndim - 2
    return nn.max_pool(x, (window,) * spatial, (strides,) * spatial, ((padding, padding),) * spatial)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _max_pool_on_cpu(window: int, strides: int, padding: int, x: Array) -> Array:
    """An axis at a time, which takes 3 ms where all axes at once take 8 (3 x 3 on 112 x 112 x 64, batch 16)."""
    for axis in range(1, x.ndim - 1):
        sizes, steps, edges = [1] * x.ndim, [1] * x.ndim, [(0, 0)] * x.ndim
        sizes[axis], steps[axis], edges[axis] = window, strides, (padding, padding)
        x = lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, sizes, steps, edges)
    return x


def _pool_forward(window: int, strides: int, padding: int, x: Array) -> tuple[Array, tuple[Array, Array]]:
    """The maxima, and which element of its window each is."""
    largest, *others = _elements(window, strides, padding, x)
    which = jnp.zeros(largest.shape, jnp.uint8 if window ** (x.ndim - 2) < 256 else jnp.int32)
    for place, element in enumerate(others, start=1):
        larger = element > largest
        largest, which = jnp.where(larger, element, largest), jnp.where(larger, which.dtype.type(place), which)
    return largest, (which, jnp.zeros((0, *x.shape[1:]), x.dtype))


def _pool_backward(window: int, strides: int, padding: int, saved: tuple[Array, Array], dy: Array) -> tuple[Array]:
    which, like = saved
    x = jax.ShapeDtypeStruct((len(dy), *like.shape[1:]), dy.dtype)
    parts = [jnp.where(which == place, dy, 0) for place in range(window ** (dy.ndim - 2))]
    return jax.linear_transpose(lambda x: _elements(window, strides, padding, x, 0), x)(parts)


_max_pool_on_cpu.defvjp(_pool_forward, _pool_backward)


def _elements(window: int, strides: int, padding: int, x: Array, fill: float = -math.inf) -> list[Array]:
    """For every element of the window the inputs that it meets."""
    pads = [(0, 0, 0), *[(padding, padding, 0)] * (x.ndim - 2), (0, 0, 0)]
    x = lax.pad(x, jnp.asarray(fill, x.dtype), pads)
    out = [(n - window) // strides + 1 for n in x.shape[1:-1]]
    return [
        x[(slice(None), *(slice(i, i + (n - 1) * strides + 1, strides) for i, n in zip(at, out, strict=True)))]
        for at in itertools.product(range(window), repeat=len(out))
    ]


def avg_pool(
    x: Float[Array, "B *space C"],
    *,
    window: int | tuple[int, ...],
    strides: int | tuple[int, ...],
    padding: int | tuple[int, ...] = 0,
    count_padding: bool = False,
) -> Float[Array, "B *out C"]:
    """The mean of each window, summed in at least float32; numbers hold for every spatial axis.

    `padding` counts positions before and after an axis; they are part of the mean only where `count_padding` is set
    (PyTorch's default, `count_include_pad`).
    """
    spatial = x.ndim - 2
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    windows, steps, pads = (
        (value,) * spatial if isinstance(value, int) else value for value in (window, strides, padding)
    )
    for axis, (size, step, pad) in enumerate(zip(windows, steps, pads, strict=True), start=1):
        if (size, step, pad) == (1, 1, 0):
            continue

        def per_axis(value: int, other: int, axis: int = axis) -> tuple[int, ...]:
            return tuple(value if i == axis else other for i in range(x.ndim))

        edges = [(pad, pad) if i == axis else (0, 0) for i in range(x.ndim)]
        counts = np.full(wide.shape[axis], 1.0)
        wide = lax.reduce_window(wide, np.zeros((), wide.dtype), lax.add, per_axis(size, 1), per_axis(step, 1), edges)
        inside = np.lib.stride_tricks.sliding_window_view(np.pad(counts, pad), size)[::step].sum(1)
        divisor = np.full_like(inside, size) if count_padding else inside
        wide = wide / divisor.reshape(per_axis(-1, 1)).astype(wide.dtype)
    return wide.astype(x.dtype)


def adaptive_average(length: int, size: int) -> Float[np.ndarray, "size length"]:
    """What each of `length` positions counts in each of `size` means, as of PyTorch's `adaptive_avg_pool`.

    Mean i is that from position floor(i * length / size) to before ceil((i + 1) * length / size).
    """
    cells, places = np.arange(size)[:, None], np.arange(length)
    inside = (cells * length // size <= places) & (places < -((cells + 1) * length // -size))
    return inside / inside.sum(1, keepdims=True)


def global_average(x: Float[Array, "B *space C"]) -> Float[Array, "B C"]:
    """The mean over space, summed in at least float32."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return x.mean(tuple(range(1, x.ndim - 1)), dtype=wide).astype(x.dtype)


def global_max(x: Float[Array, "B *space C"]) -> Float[Array, "B C"]:
    """The largest value over space."""
    return maximum(x, tuple(range(1, x.ndim - 1)))


def max_and_mean(x: Float[Array, "*shape"], axis: int) -> Float[Array, "*others 2"]:
    """The largest value and the mean along `axis`, in this order."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.stack([maximum(x, axis), x.mean(axis, dtype=wide).astype(x.dtype)], axis=-1)


def sample_deviation(x: Float[Array, "*shape"], axes: tuple[int, ...]) -> Float[Array, "*shape"]:
    """The standard deviation over `axes`, which stay as axes of one, by n - 1 numbers; 0 of a single one.

    Its gradient is 0 where nothing varies.
    """
    count = math.prod(x.shape[axis] for axis in axes)
    variance = jnp.square(x - x.mean(axes, keepdims=True)).sum(axes, keepdims=True) / max(count - 1, 1)
    varies = variance > 0
    return jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def maximum(x: Float[Array, "*shape"], axis: int | tuple[int, ...]) -> Float[Array, "*reduced"]:
    """The largest value along one axis or several; the gradient goes to the first of those that are equal.

    As in PyTorch; `jnp.max` shares it among them.
    """
    return x.max(axis)


def _maximum_forward(x: Array, axis: int | tuple[int, ...]) -> tuple[Array, Array]:
    dtype, x = x.dtype, _settled(x)
    largest = x.max(axis, keepdims=True)
    return largest.squeeze(axis).astype(dtype), _first(x == largest, axis)


def _settled(x: Array) -> Array:
    """`x` in at least float32, the same in all that use it: else none might equal the largest.

    XLA may compute `x` once for the maximum and again, rounded otherwise, for the comparison. On several CPU devices
    (jax 0.10.2) it does not where `x` is stored. The TPU's compiler compares what it has not rounded to bfloat16 unless
    it is told to, which costs no traffic, as storing would.
    """
    wide, own = jnp.promote_types(x.dtype, jnp.float32), jnp.finfo(x.dtype)
    return lax.platform_dependent(
        x,
        cpu=lambda x: lax.optimization_barrier(x).astype(wide),
        default=lambda x: lax.reduce_precision(x.astype(wide), own.nexp, own.nmant),
    )


def _maximum_backward(axis: int | tuple[int, ...], first: Array, gradient: Array) -> tuple[Array]:
    return (jnp.where(first, jnp.expand_dims(gradient, axis), 0),)


def _first(candidates: Array, axis: int | tuple[int, ...]) -> Array:
    """True at the first of the places that are true along `axis`.

    By its number, and not by `argmax`, of which XLA gathers the parts where the axis is partitioned, and which takes a
    CPU several times as long.
    """
    axes = [one % candidates.ndim for one in ((axis,) if isinstance(axis, int) else axis)]
    shape = [n if i in axes else 1 for i, n in enumerate(candidates.shape)]
    number = jnp.arange(math.prod(shape), dtype=jnp.int32).reshape(shape)
    return number == jnp.where(candidates, number, number.size).min(axis, keepdims=True)


maximum.defvjp(_maximum_forward, _maximum_backward)
