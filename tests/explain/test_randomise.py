"""What the cascade forgets, what it keeps, and that it forgets where weights stood and nothing else."""

import copy

import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.explain.randomise import cascade, forget_statistics

LAYERS = ("stem", "block1", "token", "head")


def trained(seed=0):
    rng = np.random.default_rng(seed)
    kernel = rng.gamma(0.3, size=(3, 3, 16, 32)).astype(np.float32)  # skewed, with a mean far from 0
    return {
        "head": {"kernel": rng.normal(1, 2, size=(32, 5)), "bias": rng.normal(size=5)},
        "token": rng.normal(size=(4, 8)),
        "stem": {"kernel": kernel[..., :4]},
        "block1": {
            "conv": {"kernel": kernel},
            "norm": {"scale": rng.normal(size=32).astype(np.float16), "bias": rng.normal(size=32)},
            "gate": {"alpha": np.float32(0.7), "layer_scale": rng.random((32, 1, 1))},
        },
    }


def leaves(tree, path=()):
    if not isinstance(tree, dict):
        return {path: tree}
    return {key: leaf for name, branch in tree.items() for key, leaf in leaves(branch, (*path, name)).items()}


def test_layers_fall_from_the_output_down_and_stay_fallen():
    params = trained()
    before = copy.deepcopy(params)
    steps = list(cascade(params, LAYERS, np.random.default_rng(0)))
    assert [name for name, _ in steps] == ["head", "token", "block1", "stem"]
    for number, (_, randomised) in enumerate(steps):
        assert randomised.keys() == params.keys()
        for name in LAYERS:
            fallen = name in ("head", "token", "block1", "stem")[: number + 1]
            assert (randomised[name] is not params[name]) == fallen
            if fallen:  # drawn once
                assert number == 0 or name == steps[number][0] or randomised[name] is steps[number - 1][1][name]
    for path, leaf in leaves(params).items():
        np.testing.assert_array_equal(leaf, leaves(before)[path])


def test_weights_keep_their_values_and_lose_their_places():
    params = trained()
    *_, (_, randomised) = cascade(params, LAYERS, np.random.default_rng(0))
    old, new = leaves(params), leaves(randomised)
    assert old.keys() == new.keys()
    for path, leaf in old.items():
        assert new[path].shape == np.shape(leaf) and new[path].dtype == leaf.dtype
        if path[-1] in ("scale", "bias"):
            np.testing.assert_array_equal(new[path], 1 if path[-1] == "scale" else 0)
        else:
            np.testing.assert_array_equal(np.sort(new[path], axis=None), np.sort(leaf, axis=None))
            assert new[path].mean(dtype=np.float64) == pytest.approx(np.mean(leaf, dtype=np.float64), rel=1e-12)
            assert new[path].std(dtype=np.float64) == pytest.approx(np.std(leaf, dtype=np.float64), rel=1e-12)
    assert new["block1", "gate", "alpha"] == np.float32(0.7)
    kernel = "block1", "conv", "kernel"
    assert abs(np.corrcoef(old[kernel].ravel(), new[kernel].ravel())[0, 1]) < 4 / np.sqrt(old[kernel].size)
    # Means of the filters differ as widely as chance has it, not as they did.
    spread = new[kernel].mean(axis=(0, 1, 2)).std() / (old[kernel].std() / np.sqrt(3 * 3 * 16))
    assert 0.7 < spread < 1.3


def test_equal_generators_draw_equal_networks():
    params = trained()
    draws = [dict(cascade(params, LAYERS, np.random.default_rng(seed))) for seed in (1, 1, 2)]
    same, again, other = (leaves(drawn["stem"]) for drawn in draws)
    for path in same:
        np.testing.assert_array_equal(same[path], again[path])
    assert (same["stem", "kernel"] != other["stem", "kernel"]).any()


def test_statistics_are_those_of_a_new_network_where_weights_were_randomised():
    rng = np.random.default_rng(0)

    def norm():
        return {"mean": rng.normal(size=8).astype(np.float32), "var": rng.gamma(2, size=8).astype(np.float32)}

    stats = {"stem": norm(), "block1": {"conv": {"norm": norm()}, "gate": norm()}}
    before = copy.deepcopy(stats)
    found = forget_statistics(stats, ["head", "block1"])
    assert found.keys() == stats.keys() and found["stem"] is stats["stem"]
    for path, leaf in leaves(found["block1"]).items():
        np.testing.assert_array_equal(leaf, np.full(8, path[-1] == "var", np.float32))
        assert leaf.dtype == np.float32
    assert leaves(found["block1"]).keys() == leaves(stats["block1"]).keys()
    for path, leaf in leaves(stats).items():
        np.testing.assert_array_equal(leaf, leaves(before)[path])


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        (("stem", "block1", "head"), "missing token; unknown none"),
        (("stem", "block1", "token", "haed"), "missing head; unknown haed"),
        ((*LAYERS, "head"), "each once"),
    ],
)
def test_layers_must_be_those_of_the_network(layers, line):
    with pytest.raises(UserError, match=line):
        cascade(trained(), layers, np.random.default_rng(0))
