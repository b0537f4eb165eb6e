"""The loop on a step of one number: what is validated, kept, saved, stopped and resumed."""

import json
import pathlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.data.pipeline import TrainingBatches
from attn_jax.training.loop import Fit, NotFinite, Plan, fit, predict
from attn_jax.training.mesh import Engine
from attn_jax.training.preemption import StopFlag, Stopped
from attn_jax.training.state import TrainState

IMAGES = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
LABELS = np.zeros(12, np.int32)


def step(state: TrainState, batch: Mapping[str, jax.Array]) -> tuple[TrainState, dict[str, jax.Array]]:
    """Adds the batch's pixels, in an order-dependent way: 0.9 of what was there plus their sum."""
    w = 0.9 * state.params["w"] + batch["image"].astype(jnp.float32).sum()
    loss = jnp.where((w > 1e4) | ((w < 4e3) & (w > 1e3)), jnp.nan, w)
    return state.replace(step=state.step + 1, params={"w": w}), {"loss": loss}


def engine() -> Engine:
    return Engine(
        train=jax.jit(step),
        predict=jax.jit(lambda variables, batch: batch["image"][:, 0, 0].astype(jnp.float32)),
        put_batch=lambda batch: {name: jnp.asarray(value) for name, value in batch.items()},
        put_state=lambda tree: tree,
        devices=tuple(jax.devices()[:2]),
    )


def state(start: float = 0.0) -> TrainState:
    rng = jax.random.key(0)
    return TrainState(jnp.int32(0), rng, {"w": jnp.float32(start)}, {}, {}, {}, {"mean": jnp.zeros(1)})


def run(
    folder: pathlib.Path,
    validate: Callable[[dict], dict[str, float]] = lambda v: {"auc": 0.5},
    *,
    stop: StopFlag | None = None,
    report: Callable[[float], None] = lambda fraction: None,
    start: float = 0.0,
    **changes: object,
) -> Fit:
    options = dict(
        epochs=6, eval_every=1, metric="auc", patience=0, log_every=1, checkpoint_seconds=1e9, steps_per_epoch=3
    )
    batches = TrainingBatches(IMAGES, LABELS, np.arange(12), batch_size=4, seed=3)
    plan = Plan(**(options | changes))
    return fit(
        engine(), state(start), batches, plan, validate, folder, StopFlag() if stop is None else stop, report=report
    )


def lines(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def expected_w(steps: int) -> float:
    batches, w = TrainingBatches(IMAGES, LABELS, np.arange(12), batch_size=4, seed=3), np.float32(0)
    for _ in range(steps):
        w = np.float32(0.9) * w + np.float32(next(batches)["image"].sum())
    return float(w)


def test_the_last_variables_can_be_kept_whatever_validation_says(tmp_path: pathlib.Path) -> None:
    values = iter([0.9, 0.5, 0.4, 0.3, 0.2, 0.1])
    done = run(tmp_path / "last", lambda v: {"auc": next(values)}, keep_last=True, patience=1)
    plain = run(tmp_path / "plain", lambda v: {"auc": float("nan")})
    assert (done.steps, done.progress.best_step) == (18, 18)
    assert done.variables["params"]["w"] == plain.variables["params"]["w"]


def test_it_takes_every_step_and_keeps_the_best_variables(tmp_path: pathlib.Path) -> None:
    scores = iter([0.6, 0.9, 0.8, 0.9, 0.7, 0.1])
    done = run(tmp_path, lambda variables: {"auc": next(scores)})
    assert done.steps == 18
    assert done.progress.best_step == 6, "the first of two equals"
    assert float(done.variables["params"]["w"]) == pytest.approx(expected_w(6))
    assert [line["val_auc"] for line in lines(tmp_path) if "val_auc" in line] == [0.6, 0.9, 0.8, 0.9, 0.7, 0.1]
    assert lines(tmp_path)[0]["train_loss"] == pytest.approx(expected_w(1))


def test_the_loss_is_minimised(tmp_path: pathlib.Path) -> None:
    values = iter([3.0, 1.0, 2.0, 1.5, 1.2, 4.0])
    assert run(tmp_path, lambda v: {"loss": next(values)}, metric="loss").progress.best_step == 6


def test_patience_stops_early(tmp_path: pathlib.Path) -> None:
    scores = iter([0.6, 0.9, 0.8, 0.7, 0.6, 0.5])
    done = run(tmp_path, lambda v: {"auc": next(scores)}, patience=2)
    assert (done.steps, done.progress.best_step) == (12, 6)


def test_an_undefined_metric_keeps_the_last(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path, lambda v: {"auc": float("nan")}).progress.best_step == 18


def test_a_loss_that_is_not_finite_names_step_and_checkpoint(tmp_path: pathlib.Path) -> None:
    with pytest.raises(NotFinite, match=r"nan at step 1; there is no checkpoint yet"):
        run(tmp_path / "a", start=2e4)
    with pytest.raises(NotFinite, match=r"the last good checkpoint is step [1-9]\d* in .*checkpoints"):
        run(tmp_path / "b", start=1e4, checkpoint_seconds=0.0)


@pytest.mark.parametrize("at", [0.3, 0.5, 0.9])
def test_stopped_anywhere_it_ends_the_same(tmp_path: pathlib.Path, at: float) -> None:
    def score(variables: dict) -> dict[str, float]:
        return {"auc": float(np.sin(float(variables["params"]["w"])))}

    whole = run(tmp_path / "whole", score)
    stop = StopFlag()

    def tell(fraction: float) -> None:
        if fraction >= at:
            stop.code = 42

    with pytest.raises(Stopped):
        run(tmp_path / "parts", score, stop=stop, report=tell)
    again = run(tmp_path / "parts", score)
    assert float(again.variables["params"]["w"]) == float(whole.variables["params"]["w"])
    assert again.progress.best_step == whole.progress.best_step
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_finished_run_is_not_trained_on(tmp_path: pathlib.Path) -> None:
    first = run(tmp_path)
    second = run(tmp_path, lambda v: pytest.fail("validated again"))
    assert float(second.variables["params"]["w"]) == float(first.variables["params"]["w"])


@pytest.mark.parametrize("count", [1, 4, 7, 12])
def test_predict_gives_each_row_once_and_in_order(count: int) -> None:
    rows = np.random.default_rng(0).permutation(12)[:count]
    scores = predict(engine(), {}, IMAGES, LABELS, rows, batch_size=4)
    np.testing.assert_array_equal(scores[:, 0], IMAGES[rows, 0, 0, 0])
