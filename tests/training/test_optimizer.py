"""Schedules and optimisers by name, against their formulas."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attn_jax.errors import UserError
from attn_jax.study.defaults import default_config
from attn_jax.training.optimizer import OPTIMIZERS, make_optimizer, make_schedule

PARAMS = {"stem": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones((2, 2))}}
GRADIENTS = {"stem": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones((2, 2))}}


def options(**changes):
    config = default_config().optim
    config.update(dict(learning_rate=0.1, warmup_epochs=0.0, weight_decay=0.0, clip_norm=0.0))
    config.update(changes)
    return config


def one_update(**changes) -> dict:
    optimizer, _ = make_optimizer(options(**changes), 10, 100, PARAMS)
    updates, _ = optimizer.update(GRADIENTS, optimizer.init(PARAMS), PARAMS)
    return updates


def test_warm_up_then_cosine() -> None:
    schedule = make_schedule(options(warmup_epochs=2.0, schedule="cosine"), steps_per_epoch=10, total_steps=100)
    assert float(schedule(10)) == pytest.approx(0.05)
    for step in (20, 45, 80):
        expected = 0.05 * (1 + math.cos(math.pi * (step - 20) / 80))
        assert float(schedule(step)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "expected"), [("constant", 0.1), ("linear", 0.01), ("exponential", 0.01), ("step", 0.001)]
)
def test_ends_of_the_other_schedules(name: str, expected: float) -> None:
    schedule = make_schedule(options(schedule=name, end_factor=0.1), steps_per_epoch=10, total_steps=100)
    assert float(schedule(100)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimiser_goes_downhill(name: str) -> None:
    assert (np.asarray(one_update(name=name, weight_decay=1e-4)["stem"]["kernel"]) < 0).all()


def test_sgd_is_minus_the_learning_rate_times_the_gradient() -> None:
    np.testing.assert_allclose(one_update(name="sgd", momentum=0.0)["stem"]["bias"], -0.1 * np.ones(2), rtol=1e-6)


def test_clipping_bounds_the_global_norm() -> None:
    updates = one_update(name="sgd", clip_norm=0.5)
    assert float(optax.tree.norm(updates)) == pytest.approx(0.1 * 0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_weight_decay_leaves_biases_alone(name: str) -> None:
    without, decayed = one_update(name=name), one_update(name=name, weight_decay=0.5)
    np.testing.assert_array_equal(without["stem"]["bias"], decayed["stem"]["bias"])
    np.testing.assert_allclose(decayed["stem"]["kernel"] - without["stem"]["kernel"], -0.1 * 0.5, rtol=1e-4)


@pytest.mark.parametrize("freeze", [(), ("stem",)])
def test_only_the_alpha_of_an_identity_start_moves_faster(freeze: tuple[str, ...]) -> None:
    one = jnp.ones(())
    params = {"stem": {"gate": {"alpha": one, "mechanism": {"alpha": one}}}, "body": {"gate": {"alpha": one}}}
    params["block"] = {"attention": {"alpha": one, "mechanism": {"fc": {"kernel": jnp.ones((2, 2))}}}}
    optimizer, _ = make_optimizer(options(name="adamw", alpha_factor=20.0, freeze=freeze), 10, 100, params)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    frozen = 0 if freeze else -0.1
    assert updates["block"]["attention"]["alpha"] == pytest.approx(-2, rel=1e-5)
    assert updates["body"]["gate"]["alpha"] == pytest.approx(-0.1, rel=1e-5)
    assert updates["stem"]["gate"]["alpha"] == pytest.approx(20 * frozen, rel=1e-5)
    assert updates["stem"]["gate"]["mechanism"]["alpha"] == pytest.approx(frozen, rel=1e-5)
    np.testing.assert_allclose(updates["block"]["attention"]["mechanism"]["fc"]["kernel"], -0.1, rtol=1e-5)


def test_frozen_modules_do_not_move() -> None:
    updates = one_update(name="adamw", weight_decay=0.1, freeze=("stem",))
    assert not np.asarray(updates["stem"]["kernel"]).any()
    assert np.asarray(updates["head"]["kernel"]).all()


def test_frozen_modules_thaw_at_their_epoch() -> None:
    optimizer, _ = make_optimizer(options(name="sgd", freeze=("stem",), unfreeze_epoch=2), 2, 100, PARAMS)
    state, moved = optimizer.init(PARAMS), []
    for _ in range(6):
        updates, state = optimizer.update(GRADIENTS, state, PARAMS)
        moved.append(bool(np.asarray(updates["stem"]["kernel"]).any()))
    assert moved == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(name="adamv"), "adamw"),
        (dict(schedule="cosin"), "cosine"),
        (dict(freeze=("stage9",)), "optim.freeze"),
        (dict(options={"b3": 0.1}), "optim.options.b3"),
    ],
)
def test_mistakes_are_named(changes: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        one_update(**changes)
