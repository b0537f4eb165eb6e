"""Where copies of a mechanism land, for each placement, and what they are told."""

import functools
from typing import ClassVar

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from often import often

from attn_jax import models
from attn_jax.attention import MECHANISMS, create
from attn_jax.errors import UserError
from attn_jax.models.slot import make_slot


class Told(nn.Module):
    """Remembers in its parameters' shapes what the network told it."""

    usual_placement: ClassVar[str] = "stage"

    axis_name: str | None = None
    dtype: jnp.dtype | None = None
    param_dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        assert self.axis_name == "devices" and self.dtype == jnp.bfloat16
        return x + self.param("shift", nn.initializers.zeros, x.shape[-1:], self.param_dtype).astype(x.dtype)


class Replacement(nn.Module):
    """Stands in place of a convolution."""

    features: int = 0
    strides: int = 1

    @nn.compact
    def __call__(self, x, *, train):
        return nn.Conv(self.features, (1, 1), self.strides, use_bias=False)(x)


def places(**options):
    """Path of each attention module in a ResNet-18 or the one named -> shapes of its parameters."""
    model = models.create(options.pop("name", "resnet18"), num_classes=2, width=1 / 8, stem="small", **options)
    x = jnp.zeros((1, 16, 16, 3))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    flat = flax.traverse_util.flatten_dict(params)
    return {"/".join(path): leaf.shape for path, leaf in flat.items() if any("attention" in part for part in path)}


def test_in_the_residual_branch_of_every_block_of_the_stages():
    found = places(attention="gc", stages=(2, 4))
    assert {path.rpartition("/attention/")[0] for path in found} == {
        "stage2_block1",
        "stage2_block2",
        "stage4_block1",
        "stage4_block2",
    }
    assert found["stage4_block2/attention/mask/kernel"] == (64, 1)
    assert places(attention="gc", name="resnet50", stages=(1,))["stage1_block3/attention/mask/kernel"] == (32, 1)


def test_after_a_stage_and_the_mechanism_names_its_usual_placement():
    told = {"axis_name": "devices", "dtype": jnp.bfloat16}
    assert places(attention=Told, **told) == {f"stage{s}_attention/shift": (8 * 2 ** (s - 1),) for s in (1, 2, 3, 4)}
    inside = places(attention=Told, placement="block", stages=(3,), **told)
    assert set(inside) == {"stage3_block1/attention/shift", "stage3_block2/attention/shift"}


@pytest.mark.parametrize(("name", "replaced"), [("resnet18", "conv1"), ("resnet50", "conv2")])
def test_instead_of_the_3x3_that_carries_the_stride(name, replaced):
    model = models.create(name, num_classes=2, width=1 / 8, attention=Replacement, stages=(2,))
    x = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    block = params["stage2_block1"]
    assert replaced not in block and block["attention"]["Conv_0"]["kernel"].shape[-1] == 16
    assert replaced in params["stage1_block1"]


def test_a_replacement_elsewhere_is_refused():
    with pytest.raises(UserError, match="replaces a convolution: its placement is 'conv'"):
        models.create("resnet18", num_classes=2, attention=Replacement, placement="block")


@pytest.mark.parametrize(
    "name", often(name for name, made in MECHANISMS.items() if "strides" not in made.__annotations__)
)
def test_every_mechanism_can_start_as_the_identity_and_leave_it(name):
    """Its output is the input, and some parameter has a gradient: else it would stay the identity."""
    module = make_slot(create(name), identity_start=True).make(None, "attention")
    rng = np.random.default_rng(0)
    x, weights = (jnp.asarray(rng.standard_normal((2, 6, 5, 16)), jnp.float32) for _ in range(2))

    @jax.jit
    def run():
        variables = module.init(jax.random.key(0), x, train=False)
        params = variables.pop("params", {})

        def loss(params):
            y, _ = module.apply({"params": params, **variables}, x, train=True, mutable=list(variables))
            return (weights * y).sum(), y

        return jax.grad(loss, has_aux=True)(params)

    gradients, y = run()
    np.testing.assert_array_equal(y, x)
    assert name == "identity" or any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


def test_no_attention_is_the_plain_network():
    assert places(attention="none") == {}


def test_networks_with_equal_options_are_equal_and_hashable():
    one, two = (models.create("resnet18", num_classes=2, attention="cbam") for _ in range(2))
    assert one == two and hash(one) == hash(two)


def test_a_mechanism_that_starts_as_the_identity():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 16, 16, 3)), jnp.float32)
    make = functools.partial(models.create, "resnet18", num_classes=2, width=1 / 8, stem="small")
    plain, with_se = make(), make(attention="se", identity_start=True, stages=(4,))
    variables = jax.jit(lambda: with_se.init(jax.random.key(0), x, train=False))()
    params, batch_stats = variables["params"], variables["batch_stats"]
    own = {name: {k: v for k, v in block.items() if k != "attention"} for name, block in params.items()}
    assert params["stage4_block1"]["attention"]["mechanism"]["mlp"]["fc1"]["kernel"].shape == (64, 4)

    @jax.jit
    def run(alpha):
        blocks = {
            f"stage4_block{i}": own[f"stage4_block{i}"]
            | {"attention": params[f"stage4_block{i}"]["attention"] | {"alpha": alpha}}
            for i in (1, 2)
        }
        return with_se.apply({"params": own | blocks, "batch_stats": batch_stats}, x, train=False)

    wanted = jax.jit(plain.apply, static_argnames="train")({"params": own, "batch_stats": batch_stats}, x, train=False)
    np.testing.assert_allclose(run(0.0), wanted, rtol=1e-5, atol=1e-6)
    direct = make(attention="se", stages=(4,))
    inner = {f"stage4_block{i}": params[f"stage4_block{i}"]["attention"]["mechanism"] for i in (1, 2)}
    blocks = {name: own[name] | {"attention": inner[name]} for name in inner}
    full = direct.apply({"params": own | blocks, "batch_stats": batch_stats}, x, train=False)
    np.testing.assert_allclose(run(1.0), full, rtol=1e-4, atol=1e-5)
    assert np.abs(full - wanted).max() > 1e-3
    with pytest.raises(UserError, match="identity_start: Replacement replaces a convolution"):
        make(attention=Replacement, identity_start=True)
