"""Multiply-accumulates of programs small enough to count by hand, whatever is fast on which platform."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from attn_jax.layers import convolve
from attn_jax.models import cost

A, B = jnp.zeros((5, 3)), jnp.zeros((3, 7))
X = jax.ShapeDtypeStruct((2, 9, 8, 4), jnp.float32)


def conv(kernel, groups=1, strides=(1, 1)):
    options = {"strides": strides, "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": groups}
    return lambda x: convolve(x, jnp.zeros(kernel), **options)


def looped(a, b):
    return lax.scan(lambda carry, _: (carry, a @ b), 0, length=4)[1]


def chosen(a, b):
    return lax.cond(a[0, 0] > 0, lambda: a @ b @ b.T @ b, lambda: a @ b)


def by_platform(a, b):
    return lax.platform_dependent(
        a, b, cpu=lambda a, b: a @ b @ b.T @ b, tpu=lambda a, b: jnp.zeros((5, 7)), default=jnp.matmul
    )


@pytest.mark.parametrize(
    ("function", "arguments", "wanted"),
    [
        (jnp.matmul, (A, B), 5 * 3 * 7),
        (lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (jnp.zeros((2, 5, 3)), jnp.zeros((2, 3, 7))), 2 * 5 * 3 * 7),
        (looped, (A, B), 4 * 5 * 3 * 7),
        (chosen, (A, B), 3 * 5 * 3 * 7),
        (by_platform, (A, B), 5 * 3 * 7),
        (jax.grad(lambda a, b: by_platform(a, b).sum()), (A, B), 2 * 5 * 3 * 7),
        (jax.jit(jax.checkpoint(jnp.matmul)), (A, B), 5 * 3 * 7),
        (lambda a: a * 2 + jnp.sin(a), (A,), 0),
        (conv((3, 3, 4, 6)), (X,), 2 * 9 * 8 * 6 * 36),
        (conv((3, 3, 4, 6), strides=(2, 2)), (X,), 2 * 5 * 4 * 6 * 36),
        (conv((3, 3, 2, 6), groups=2), (X,), 2 * 9 * 8 * 6 * 18),
        (conv((3, 3, 1, 4), groups=4), (X,), 2 * 9 * 8 * 4 * 9),
        (conv((3, 3, 4, 6)), (jax.ShapeDtypeStruct((2, 2, 2, 4), jnp.float32),), 2 * 2 * 2 * 6 * 36),
    ],
    ids=[
        *("matmul", "batched", "scan", "cond", "platforms", "gradient", "checkpoint", "elementwise"),
        *("conv", "strided", "grouped", "depthwise", "tiny map"),
    ],
)
def test_macs(function, arguments, wanted):
    assert cost.macs(function, *arguments) == wanted


def test_parameters_are_those_trained():
    variables = {"params": {"a": A, "b": {"c": B}}, "batch_stats": {"mean": A}}
    assert cost.parameters(variables) == 15 + 21
