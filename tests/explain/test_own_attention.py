"""Which of the maps that mechanisms sow the method `attention` takes, against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from attn_jax import attention
from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.explain import attention_pictures, saliency
from attn_jax.explain.attention_maps import _layouts_of
from attn_jax.explain.own_attention import _own_attention

TARGETS = np.array([0, 1])


class Looking(Mechanism):
    """Looks at what it is given in as many ways as are named, each a multiple of the one before."""

    kinds: tuple[str, ...]
    factor: float = 1.0

    @nn.compact
    def __call__(self, x, *, train):
        space, flat = x.shape[1:-1], x.reshape(len(x), -1, x.shape[-1])
        maps = {
            "channel": (x.mean(axis=tuple(range(1, x.ndim - 1))), None),
            "spatial": (x.mean(axis=-1), None),
            "full": (x, None),
            "token": (flat[:, None, :3] @ flat[:, None].swapaxes(2, 3), (3, *space)),
        }
        for number, kind in enumerate(self.kinds, 1):
            map, layout = maps[kind]
            self.look(kind, number * self.factor * map, layout)
        return x


class Net(nn.Module):
    """Mechanisms one after the other; names that do not sort as they are called."""

    mechanisms: tuple[tuple[str, ...], ...]

    @nn.compact
    def __call__(self, x, *, train: bool):
        for number, kinds in enumerate(self.mechanisms, 1):
            x = nn.avg_pool(x, (2,) * (x.ndim - 2), (2,) * (x.ndim - 2)) if number == 3 else x
            x = Looking(kinds, 10.0**number, name=f"stage{number + 8}")(x, train=train)
        return x.mean(axis=tuple(range(1, x.ndim - 1)))


def drawn(*mechanisms, layer=None, size=(4, 6)):
    images = np.random.default_rng(0).normal(size=(2, *size, 2)).astype(np.float32)
    return images, np.asarray(saliency(Net(mechanisms), {}, images, TARGETS, "attention", layer))


@pytest.mark.parametrize("size", [(4, 6), (4, 2, 6)])
def test_the_last_map_with_a_place_of_its_own_size_and_positive(size):
    images, maps = drawn(("spatial",), ("spatial", "spatial", "full", "channel"), ("channel",), size=size)
    np.testing.assert_allclose(maps, np.maximum(3 * 100 * images.mean(axis=-1), 0), rtol=1e-5)
    images, maps = drawn(("full",), ("channel",), ("full", "spatial"), size=size)
    for axis in range(1, len(size) + 1):
        images = (
            images.take(range(0, images.shape[axis], 2), axis) + images.take(range(1, images.shape[axis], 2), axis)
        ) / 2
    np.testing.assert_allclose(maps, np.maximum(2 * 1000 * images.mean(axis=-1), 0), rtol=1e-4, atol=1e-3)
    assert (maps == 0).any() and maps.dtype == np.float32


def test_tokens_are_the_attention_that_positions_receive():
    images, maps = drawn(("token",))
    flat = images.reshape(2, 24, 2)
    received = [[np.mean([10 * flat[b, q] @ flat[b, k] for q in range(3)]) for k in range(24)] for b in range(2)]
    np.testing.assert_allclose(maps, np.maximum(received, 0).reshape(2, 4, 6), rtol=1e-4, atol=1e-5)


def test_a_layer_is_a_mechanism_or_what_holds_some():
    images, maps = drawn(("spatial",), ("spatial",), layer="stage9")
    np.testing.assert_allclose(maps, np.maximum(10 * images.mean(axis=-1), 0), rtol=1e-5)
    with pytest.raises(UserError, match="layer 'stage8' holds no attention mechanism .* Did you mean 'stage9'"):
        drawn(("spatial",), layer="stage8")
    with pytest.raises(UserError, match="attention of layer 'stage10' has no place in the image, .* by channel alone"):
        drawn(("spatial",), ("channel",), layer="stage10")


def test_a_network_without_a_place_says_why():
    with pytest.raises(UserError, match="of this network has no place in the image, its maps are by channel alone"):
        drawn(("channel",), ("channel", "channel"))
    with pytest.raises(UserError, match="needs a network with an attention mechanism that shows a map"):
        drawn()


class Two(nn.Module):
    """Networks within a network."""

    @nn.compact
    def __call__(self, x, *, train: bool):
        within = [Net((("spatial",), ("spatial",)), name=name)(x * i, train=train) for i, name in enumerate("abc", 1)]
        return within[0] + within[1] + within[2]


def test_a_layer_may_hold_several_mechanisms_the_last_of_which_counts():
    images = np.random.default_rng(0).random((2, 4, 6, 2), np.float32)
    maps = saliency(Two(), {}, images, TARGETS, "attention", "b")
    np.testing.assert_allclose(maps, 2 * 100 * images.mean(axis=-1), rtol=1e-5)
    np.testing.assert_allclose(
        saliency(Two(), {}, images, TARGETS, "attention", "b/stage9"), 2 * 10 * images.mean(axis=-1), rtol=1e-5
    )


def test_it_is_compiled_once_whatever_images_and_targets_and_pictures_ask_once_how_maps_lie():
    model = Net((("spatial",), ("token",)))
    images = np.random.default_rng(0).random((2, 4, 6, 2), np.float32)
    before, known = _own_attention._cache_size(), _layouts_of.cache_info().misses
    maps = [saliency(model, {}, images * i, TARGETS[:: (-1) ** i], "attention") for i in (1, 2)]
    assert _own_attention._cache_size() == before + 1 and not np.allclose(*maps)
    drawn = [attention_pictures(model, {}, images * i).over_image["stage10"]["token"] for i in (1, 2)]
    assert _layouts_of.cache_info().misses == known + 1
    np.testing.assert_allclose(drawn, maps, rtol=1e-5)  # a map of the image's size


@pytest.mark.parametrize("name", ["mhsa", "halo", "criss_cross", "lambda", "lsk", "double", "dual"])
def test_mechanisms_whose_maps_are_not_one_spatial_one(name):
    module = attention.create(name)
    x = jax.ShapeDtypeStruct((2, 12, 10, 64), jnp.float32)

    def maps_of(x):
        variables = module.init(jax.random.key(0), x, train=False)
        variables = {name: variables[name] for name in variables if name != "attention"}
        return _own_attention(module, None, variables, x)

    assert jax.eval_shape(maps_of, x).shape == (2, 12, 10)
