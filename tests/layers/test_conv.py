"""Every formulation of a convolution against XLA's own, forward and in both gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from attn_jax.layers import Conv, convolve, geometry, grouped
from attn_jax.layers.geometry import Geometry

# input [B, *space, C], features, window, strides, padding, dilation
CASES = {
    "3x3": ((4, 7, 6, 5), 8, (3, 3), (1, 1), (1, 1), (1, 1)),
    "strided": ((4, 8, 7, 5), 8, (3, 3), (2, 2), (1, 1), (1, 1)),
    "on 2x2": ((3, 2, 2, 6), 4, (3, 3), (1, 1), (1, 1), (1, 1)),
    "on 1x1": ((3, 1, 1, 6), 4, (3, 3), (1, 1), (1, 1), (1, 1)),
    "onto 2x2": ((3, 4, 4, 6), 4, (3, 3), (2, 2), (1, 1), (1, 1)),
    "stem": ((2, 16, 16, 3), 8, (7, 7), (2, 2), (3, 3), (1, 1)),
    "dilated": ((2, 9, 9, 4), 4, (3, 3), (1, 1), (2, 2), (2, 2)),
    "strip": ((2, 6, 5, 4), 4, (1, 7), (1, 1), (0, 3), (1, 1)),
    "no padding": ((2, 6, 5, 4), 4, (3, 2), (1, 1), (0, 0), (1, 1)),
    "1x1": ((2, 5, 5, 4), 6, (1, 1), (1, 1), (0, 0), (1, 1)),
    "strided 1x1": ((2, 5, 6, 4), 6, (1, 1), (2, 2), (0, 0), (1, 1)),
    "volume": ((2, 4, 3, 5, 3), 4, (3, 3, 3), (2, 1, 2), (1, 1, 1), (1, 1, 1)),
    "line": ((2, 9, 3), 4, (3,), (2,), (1,), (1,)),
    "3x3 wide": ((2, 7, 5, 33), 40, (3, 3), (1, 1), (1, 1), (1, 1)),
    "3x3 valid": ((2, 6, 7, 32), 32, (3, 3), (1, 1), (0, 0), (1, 1)),
    "3x3 on even": ((2, 8, 4, 32), 32, (3, 3), (1, 1), (2, 1), (1, 1)),
    "planes": ((3, 9, 8, 2), 1, (7, 7), (1, 1), (3, 3), (1, 1)),
    "planes, dilated": ((2, 9, 8, 2), 2, (3, 3), (1, 1), (4, 1), (2, 2)),
    "planes, one axis long": ((2, 5, 270, 2), 1, (7, 3), (1, 1), (3, 1), (1, 1)),
    "planes, many": ((2, 6, 5, 1), 8, (7, 5), (1, 1), (3, 2), (1, 1)),
    "planes of a volume": ((2, 4, 5, 6, 1), 3, (3, 1, 3), (1, 1, 1), (0, 0, 1), (1, 1, 1)),
    "stride 3": ((2, 10, 11, 4), 5, (5, 2), (3, 2), (2, 0), (1, 1)),
    "stride above window": ((2, 9, 7, 3), 4, (1, 2), (2, 3), (0, 0), (1, 1)),
}


def draw(*shape):
    return jnp.asarray(np.random.default_rng(len(shape) + shape[-1]).standard_normal(shape), jnp.float32)


def reference(x, kernel, strides, padding, dilation):
    letters = "DHW"[-len(strides) :]
    names = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    pairs = [(p, p) for p in padding]
    return lax.conv_general_dilated(x, kernel, strides, pairs, rhs_dilation=dilation, dimension_numbers=names)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("name", CASES)
def test_every_formulation_equals_xla_forward_and_in_both_gradients(name, monkeypatch):
    shape, features, window, strides, padding, dilation = CASES[name]
    how = Geometry(window, strides, tuple((p, p) for p in padding), dilation)
    options = {"strides": how.strides, "padding": how.padding, "dilation": how.dilation}
    x, kernel = draw(*shape), draw(*window, shape[-1], features)
    forward = [how.convolve, how.convolve_patches]
    backward = [how.input_gradient, how.input_gradient_patches]
    if (window, strides, dilation) == ((3, 3), (1, 1), (1, 1)):
        forward.append(how.convolve_winograd)
        backward.append(how.input_gradient_winograd)
    to_kernel = [how.kernel_gradient]
    if "planes" in name:
        forward.append(how.convolve_planes)
        backward.append(how.input_gradient_planes)
    for axis in range(len(window) if len(window) > 1 else 0):
        forward.append(functools.partial(how.convolve_folded, axis))
        backward.append(functools.partial(how.input_gradient_folded, axis))
        to_kernel.append(functools.partial(how.kernel_gradient_folded, axis))
    if set(dilation) == {1}:
        backward.append(how.input_gradient_phases)

    def kernel_gradient(chunk, *arguments):
        monkeypatch.setattr(geometry, "CHUNK_BYTES", chunk)
        return how.kernel_gradient_patches(*arguments)

    @jax.jit
    def everything(x, kernel):
        y, pull = jax.vjp(lambda x, k: reference(x, k, strides, padding, dilation), x, kernel)
        dy = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        ours, pull_ours = jax.vjp(lambda x, k: convolve(x, k, **options), x, kernel)
        products = [kernel_gradient(chunk, x, kernel, dy) for chunk in (1, 2**11, 2**30)]
        dx, dkernel = pull(dy)
        dx_ours, dkernel_ours = pull_ours(dy)
        return (
            (y, [ours, *(formulation(x, kernel) for formulation in forward)]),
            (dx, [dx_ours, *(formulation(x, kernel, dy) for formulation in backward)]),
            (dkernel, [dkernel_ours, *(formulation(x, kernel, dy) for formulation in to_kernel), *products]),
        )

    # On one device other formulations are chosen than on the eight of this suite.
    results = [everything(x, kernel)]
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    everything.clear_cache()
    results.append(everything(x, kernel))
    for result in results:
        for wanted, candidates in result:
            for got in candidates:
                close(got, wanted)


@pytest.mark.parametrize("name", [name for name in CASES if "planes" in name] + ["3x3"])
def test_what_a_tpu_takes_equals_xla_and_folds_few_channels(name, monkeypatch):
    shape, features, window, strides, padding, dilation = CASES[name]
    x, kernel = draw(*shape), draw(*window, shape[-1], features)
    folded = []

    def taken(*arrays, default, **ways):
        folded.append("tpu" in ways)
        return ways.get("tpu", default)(*arrays)

    monkeypatch.setattr(lax, "platform_dependent", taken)
    pairs = tuple((p, p) for p in padding)
    y, pull = jax.vjp(lambda x, k: convolve(x, k, strides=strides, padding=pairs, dilation=dilation), x, kernel)
    wanted, wanted_pull = jax.vjp(lambda x, k: reference(x, k, strides, padding, dilation), x, kernel)
    for got, right in zip((y, *pull(jnp.sin(y))), (wanted, *wanted_pull(jnp.sin(wanted))), strict=True):
        close(got, right)
    assert all(folded) == ("planes" in name)


def test_a_batch_is_not_looped_over_when_devices_may_share_it(monkeypatch):
    monkeypatch.setattr(geometry, "CHUNK_BYTES", 1)
    shape = Geometry((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    arguments = draw(4, 5, 5, 2), draw(3, 3, 2, 3), draw(4, 5, 5, 3)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert "scan" in str(jax.make_jaxpr(shape.kernel_gradient_patches)(*arguments))
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert "scan" not in str(jax.make_jaxpr(shape.kernel_gradient_patches)(*arguments))


GROUPED = {
    "blocks": ((2, 7, 6, 48), 96, 6, (1, 1)),
    "one block": ((2, 7, 6, 12), 24, 4, (2, 2)),
    "wide groups": ((2, 5, 5, 80), 40, 2, (1, 1)),
    "depthwise": ((2, 7, 6, 5), 5, 5, (1, 1)),
    "depthwise, strided": ((2, 7, 6, 5), 5, 5, (2, 1)),
    "depthwise, multiplied": ((2, 7, 6, 5), 10, 5, (1, 1)),
}


@pytest.mark.parametrize("name", GROUPED)
def test_groups_equal_xla_forward_and_in_both_gradients(name):
    shape, features, groups, strides = GROUPED[name]
    x, kernel = draw(*shape), draw(3, 3, shape[-1] // groups, features)
    how = Geometry((3, 3), strides, ((1, 1), (1, 1)), (1, 1))

    def ours(x, kernel):
        options = {"strides": strides, "padding": how.padding, "dilation": how.dilation}
        return convolve(x, kernel, groups=groups, **options)

    def everything(function):
        y, pull = jax.vjp(function, x, kernel)
        return y, *pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    wanted = jax.jit(lambda: everything(lambda x, kernel: how.convolve(x, kernel, groups)))()
    for got, right in zip(jax.jit(lambda: everything(ours))(), wanted, strict=True):
        close(got, right)
    for width in (1, 32, 128):
        blocks = grouped.by_blocks(how, lambda how, *arrays: how.convolve(*arrays), x, kernel, groups, width)
        close(blocks, wanted[0])


def test_groups_and_vmap():
    x, kernel = draw(2, 5, 5, 6), draw(3, 3, 2, 9)
    options = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    inputs, kernels = np.split(x, 3, -1), np.split(kernel, 3, -1)
    parts = [reference(i, k, (1, 1), (1, 1), (1, 1)) for i, k in zip(inputs, kernels, strict=True)]
    close(convolve(x, kernel, groups=3, **options), np.concatenate(parts, -1))
    kernel = draw(3, 3, 6, 4)
    close(jax.vmap(lambda x: convolve(x[None], kernel, **options)[0])(x), convolve(x, kernel, **options))


@pytest.mark.parametrize(
    "options", [{}, {"strides": 2, "padding": 0}, {"dilation": 2, "use_bias": True}, {"groups": 2}]
)
def test_the_module_has_linens_parameters_and_result(options):
    x = draw(2, 7, 6, 4)
    ours = Conv(6, 3, **options)
    variables = jax.jit(ours.init)(jax.random.key(0), x)
    padding = options.get("padding", options.get("dilation", 1))
    theirs = nn.Conv(
        6,
        (3, 3),
        strides=options.get("strides", 1),
        padding=padding,
        kernel_dilation=options.get("dilation", 1),
        feature_group_count=options.get("groups", 1),
        use_bias=options.get("use_bias", False),
    )
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, jax.eval_shape(theirs.init, jax.random.key(0), x)
    )
    close(jax.jit(ours.apply)(variables, x), jax.jit(theirs.apply)(variables, x))


def test_computes_in_bfloat16_with_float32_parameters():
    module = Conv(4, 3, dtype=jnp.bfloat16)
    variables = jax.jit(module.init)(jax.random.key(0), draw(2, 5, 5, 3))
    y = module.apply(variables, draw(2, 5, 5, 3))
    assert y.dtype == jnp.bfloat16 and variables["params"]["kernel"].dtype == jnp.float32
    wanted = Conv(4, 3).apply(variables, draw(2, 5, 5, 3))
    np.testing.assert_allclose(y.astype(jnp.float32), wanted, rtol=0.03, atol=0.03)
