"""Tables over positions: interpolated at another size by a formula in plain NumPy."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from attn_jax.layers import position_table


class Table(nn.Module):
    """The table of an input's size."""

    @nn.compact
    def __call__(self, x):
        return position_table(self, "table", nn.initializers.normal(1.0), x.shape[1:-1], 3, x.dtype)


def along(table, size):
    """Of n entries on [0, 1], whose centres are at (i + 1/2) / n, the values at `size` such centres, axis 0."""
    found = []
    for place in range(size):
        at = min(max((place + 0.5) * len(table) / size - 0.5, 0), len(table) - 1)
        low = min(int(at), max(len(table) - 2, 0))
        found.append(table[low] + (at - low) * (table[min(low + 1, len(table) - 1)] - table[low]))
    return np.stack(found)


@pytest.mark.parametrize("size", [(5, 4), (3, 9), (1, 1), (10, 8)])
def test_another_size_is_interpolated_axis_by_axis(size):
    params = Table().init(jax.random.key(0), np.zeros((1, 5, 4, 1), np.float32))
    table = np.asarray(params["params"]["table"])
    assert table.shape == (5, 4, 3)
    found = Table().apply(params, np.zeros((1, *size, 1), np.float32))
    wanted = np.moveaxis(along(np.moveaxis(along(table, size[0]), 1, 0), size[1]), 0, 1)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    if size == (5, 4):
        np.testing.assert_array_equal(found, table)
