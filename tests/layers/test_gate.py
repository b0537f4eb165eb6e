"""The shared gate's sizes and its one user error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.layers import GateMLP, over_space, reduced


def test_hidden_channels():
    assert [reduced(c, 16) for c in (1, 15, 16, 40, 512)] == [1, 1, 1, 2, 32]
    for reduction in (0, -1):
        with pytest.raises(UserError, match="reduction"):
            reduced(64, reduction)


def test_the_perceptron_is_its_formula():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 8)), jnp.float32)
    params = GateMLP(4).init(jax.random.key(0), x)["params"]
    hidden = np.maximum(x @ params["fc1"]["kernel"] + params["fc1"]["bias"], 0)
    assert hidden.shape == (3, 2)
    wanted = hidden @ params["fc2"]["kernel"] + params["fc2"]["bias"]
    np.testing.assert_allclose(GateMLP(4).apply({"params": params}, x), wanted, atol=1e-5)


def test_over_space_takes_shape_and_type_of_the_map():
    volume = jnp.zeros((2, 3, 4, 5, 6), jnp.bfloat16)
    gate = over_space(jnp.ones((2, 6)), volume)
    assert gate.shape == (2, 1, 1, 1, 6) and gate.dtype == jnp.bfloat16
