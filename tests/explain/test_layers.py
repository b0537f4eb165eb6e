"""Tapping submodules by their path: what is read is what they put out, what is added arrives."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from attn_jax.explain.layers import outputs, run, run_from


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        return nn.Dense(3, name="dense")(x) + 1

    def other(self, x):
        return x


class Outer(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        first = Inner(name="first")
        x = first(first.other(x), train=train)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        return Inner(name="second")(x, train=train).sum(axis=1)


IMAGES = jax.random.normal(jax.random.key(0), (2, 5, 4))
VARIABLES = Outer().init(jax.random.key(1), IMAGES, train=False)


def test_outputs_by_path_in_order_of_calls():
    found = outputs(Outer(), VARIABLES, IMAGES)
    assert list(found) == ["first/dense", "first", "norm", "second/dense", "second"]
    assert {output.shape for output in found.values()} == {(2, 5, 3)}


def test_reads_a_nested_output():
    logits, dense = run(Outer(), VARIABLES, IMAGES, "first/dense")
    params = VARIABLES["params"]["first"]["dense"]
    np.testing.assert_allclose(dense, IMAGES @ params["kernel"] + params["bias"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(logits, Outer().apply(VARIABLES, IMAGES, train=False))


def test_what_is_added_arrives_downstream():
    push = jnp.zeros((2, 5, 3)).at[1, 2, 0].set(0.5)
    plain, before = run(Outer(), VARIABLES, IMAGES, "second")
    pushed, after = run(Outer(), VARIABLES, IMAGES, "second", push)
    np.testing.assert_allclose(after - before, push, atol=1e-6)
    np.testing.assert_allclose(pushed - plain, push.sum(axis=1), atol=1e-5)


def test_what_replaces_an_output_arrives_in_its_stead():
    logits, second = run(Outer(), VARIABLES, IMAGES, "second")
    np.testing.assert_allclose(run_from(Outer(), VARIABLES, IMAGES, "second", second), logits, atol=1e-6)
    np.testing.assert_allclose(run_from(Outer(), VARIABLES, IMAGES, "second", 3 * second), 3 * logits, rtol=1e-5)
    _, first = run(Outer(), VARIABLES, IMAGES, "first")
    np.testing.assert_allclose(run_from(Outer(), VARIABLES, 0 * IMAGES, "first", first), logits, atol=1e-6)


class Doubled(Inner):
    """Calls what it extends, under its own path."""

    def __call__(self, x, *, train: bool):
        return 2 * super().__call__(x, train=train)


class Holder(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        return Doubled(name="layer")(x, train=train)


def test_a_class_that_extends_another_is_read_and_pushed_once():
    variables = Holder().init(jax.random.key(1), IMAGES, train=False)
    plain, before = run(Holder(), variables, IMAGES, "layer")
    pushed, after = run(Holder(), variables, IMAGES, "layer", jnp.ones_like(before))
    np.testing.assert_array_equal(before, plain)
    np.testing.assert_allclose(pushed - plain, 1, atol=1e-5)
    np.testing.assert_array_equal(after, pushed)
