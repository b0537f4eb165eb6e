"""The maps that mechanisms sow, by path and kind, and where their pictures put them, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from attn_jax import attention, models
from attn_jax.attention.mechanism import Mechanism
from attn_jax.errors import UserError
from attn_jax.explain.attention_maps import attention_maps, attention_pictures


class Gate(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        self.sow("attention", "spatial", x.mean(axis=-1))
        self.sow("attention", "channel", x.mean(axis=(1, 2)))
        return x


class Net(nn.Module):
    gated: bool = True

    @nn.compact
    def __call__(self, x, *, train: bool):
        for name in ("low", "high") if self.gated else ():
            x = Gate(name=name)(x + 1, train=train)
        gate = Gate(name="shared")
        return (gate(gate(x, train=train) * 2, train=train) if self.gated else x).mean(axis=(1, 2))


def test_maps_by_path_and_kind():
    images = jnp.arange(24.0).reshape(1, 3, 4, 2)
    maps = attention_maps(Net(), {}, images)
    assert set(maps) == {"low", "high", "shared"} and set(maps["low"]) == {"spatial", "channel"}
    np.testing.assert_allclose(maps["high"]["spatial"], images.mean(axis=-1) + 2)
    for kind, factor in (("channel", 1), ("channel 2", 2)):
        np.testing.assert_allclose(maps["shared"][kind], factor * (images.mean(axis=(1, 2)) + 2))
    assert attention_maps(Net(gated=False), {}, images) == {}


def test_of_a_network_with_cbam():
    model = models.create("resnet18", num_classes=2, attention="cbam", stem="small", width=0.125, stages=(4,))
    images = jnp.ones((2, 16, 16, 3))
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    maps = attention_maps(model, variables, images)
    assert set(maps) == {"stage4_block1/attention", "stage4_block2/attention"}
    assert all(set(kinds) == {"channel", "spatial"} for kinds in maps.values())
    assert maps["stage4_block2/attention"]["channel"].shape == (2, 64)


@pytest.mark.parametrize("name", ["sse", "criss_cross"])
def test_maps_that_variables_carry_from_elsewhere_are_not_shown(name):
    module = attention.create(name)
    x, other = (jax.random.normal(jax.random.key(seed), (seed, 4, 3, 16)) for seed in (1, 2))
    variables = module.init(jax.random.key(0), other, train=False)
    assert "attention" not in variables
    _, carried = module.apply(variables, other, train=False, mutable=["attention"])
    wanted, found = (attention_maps(module, given, x) for given in (variables, {**variables, **carried}))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert attention_pictures(module, {**variables, **carried}, x).over_image.keys() == wanted.keys()


class Shown(Mechanism):
    """Looks at a fixed map [1, *map], the same for all images."""

    kind: str
    shape: tuple[int, ...]
    layout: object = None

    @nn.compact
    def __call__(self, x, *, train):
        self.look(self.kind, jnp.broadcast_to(fixed(self.shape), (len(x), *self.shape)), self.layout)
        return x


def fixed(shape):
    return np.random.default_rng(0).random(shape, np.float32)


def resized(values, size):
    """Linear interpolation between pixel centres at halves, axis by axis."""
    for axis, wanted in enumerate(size):
        places = (np.arange(wanted) + 0.5) * values.shape[axis] / wanted - 0.5
        known = np.arange(values.shape[axis])
        values = np.apply_along_axis(lambda line, at=places, of=known: np.interp(at, of, line), axis, values)
    return values


def pictures(kind, shape, layout=None, size=(12, 20), query=None):
    images = np.zeros((2, *size, 1), np.float32)
    drawn = attention_pictures(Shown(kind, shape, layout), {}, images, query)
    return drawn.over_image.get("", {}).get(kind), drawn.values.get("", {}).get(kind)


@pytest.mark.parametrize("space", [(3, 5), (1, 1), (12, 20), (2, 3, 4)], ids=str)
def test_maps_over_space_are_resized_and_channels_averaged(space):
    size = (12, 20, 7)[: len(space)]
    spatial, _ = pictures("spatial", space, size=size)
    assert spatial.shape == (2, *size)
    np.testing.assert_allclose(spatial[1], resized(fixed(space), size), atol=1e-6)
    full, _ = pictures("full", (*space, 6), size=size)
    np.testing.assert_allclose(full[0], resized(fixed((*space, 6)).mean(-1), size), atol=1e-6)


def test_tokens_are_drawn_as_the_attention_that_positions_receive():
    heads, queries, keys = 3, (6, 10), (3, 5)
    shape = (heads, 60, 15)
    weights = fixed(shape)
    total = np.zeros(keys)
    for head in range(heads):
        for query in range(60):
            for key in range(15):
                total[divmod(key, 5)] += weights[head, query, key] / (heads * 60)
    received, _ = pictures("token", shape, (*queries, *keys))
    np.testing.assert_allclose(received[0], resized(total, (12, 20)), atol=1e-6)

    # Pixel (7, 13) of 12 x 20 lies in position (3, 6) of 6 x 10, which is token 36.
    paid, _ = pictures("token", shape, (*queries, *keys), query=(7, 13))
    np.testing.assert_allclose(paid[1], resized(weights[:, 36].mean(0).reshape(keys), (12, 20)), atol=1e-6)


def test_queries_without_a_place_are_averaged_whichever_is_asked_for():
    weights = fixed((1, 4, 15))
    wanted = resized(weights[0].mean(0).reshape(3, 5), (12, 20))
    for query in (None, (7, 13)):
        drawn, _ = pictures("token", (1, 4, 15), (4, 3, 5), query=query)
        np.testing.assert_allclose(drawn[0], wanted, atol=1e-6)


def test_a_mechanism_may_lay_its_tokens_out_itself():
    def backwards(map):
        return map[..., ::-1].reshape(*map.shape[:2], 3, 5, 3, 5)

    drawn, _ = pictures("token", (2, 15, 15), backwards, query=(0, 19))
    wanted = fixed((2, 15, 15))[:, 4, ::-1].mean(0).reshape(3, 5)
    np.testing.assert_allclose(drawn[0], resized(wanted, (12, 20)), atol=1e-6)


@pytest.mark.parametrize(("kind", "shape"), [("channel", (8,)), ("branch", (2, 8)), ("token", (1, 15, 15))])
def test_what_has_no_place_in_the_image_keeps_its_values(kind, shape):
    drawn, values = pictures(kind, shape)
    assert drawn is None
    np.testing.assert_array_equal(values[1], fixed(shape))


@pytest.mark.parametrize("query", [(12, 0), (0, -1), (3,)])
def test_a_query_outside_the_image_is_refused(query):
    with pytest.raises(UserError, match="is no pixel of an image of 12 x 20"):
        pictures("token", (1, 15, 15), (3, 5, 3, 5), query=query)


@pytest.mark.parametrize(
    ("name", "space"), [(n, s) for n in attention.MECHANISMS for s in ((6, 5), (4, 3, 2)) if n != "fca" or len(s) == 2]
)
def test_every_map_of_every_mechanism_is_drawn_or_listed(name, space):
    module, size = attention.create(name), tuple(2 * side for side in space)
    x = jax.ShapeDtypeStruct((2, *size, 64), jnp.float32)

    def maps_and_pictures(x):
        variables = module.init(jax.random.key(0), x, train=False)
        drawn = attention_pictures(module, variables, x)
        return attention_maps(module, variables, x), drawn.over_image, drawn.values

    maps, over_image, values = jax.eval_shape(maps_and_pictures, x)
    for path, kinds in maps.items():
        placed, listed = over_image.get(path, {}), values.get(path, {})
        assert set(placed) | set(listed) == set(kinds) and not set(placed) & set(listed)
        assert {"spatial", "full"}.isdisjoint(listed) and {"channel", "branch"}.isdisjoint(placed)
        assert all(picture.shape == (2, *size) for picture in placed.values())
