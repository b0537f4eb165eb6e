"""One cell from its data to its result: train, predict, look, write."""

import contextlib
import dataclasses
import datetime
import functools
import math
import platform
import shutil
import socket
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array

import attn_jax
from attn_jax import progress
from attn_jax.data.prepare import Prepared
from attn_jax.evaluation import records
from attn_jax.evaluation.metrics import evaluate
from attn_jax.models import cost
from attn_jax.study import maps, saliency
from attn_jax.study.build import Parts, make_parts
from attn_jax.study.cell import Cell
from attn_jax.study.trained import data_facts, load_model, save_variables, write_json
from attn_jax.tasks import Classification
from attn_jax.training.loop import Fit, fit, predict
from attn_jax.training.preemption import StopFlag


def run_cell(
    cell: Cell, data: Prepared, tested: Prepared | None, stop: StopFlag, report: Callable[[float], None]
) -> dict[str, Any]:
    """Runs a cell to its end and returns its result; `result.json` is written last.

    Args:
        cell: what to run.
        data: what it is trained on.
        tested: the other data set it is tested on, where it is.
        stop: see `training.loop.fit`.
        report: told the share of the training that is done.
    """
    cell.folder.mkdir(parents=True, exist_ok=True)
    facts = {"key": cell.key, "point": cell.point, "config": cell.config.to_dict(), "version": attn_jax.__version__}
    write_json(cell.folder / "config.json", facts | {"data": data_facts(data)})
    if cell.trained_in is None:
        parts = make_parts(cell.config, data)
        outcome = fit(
            parts.engine,
            parts.state,
            parts.batches,
            parts.plan,
            lambda variables: _validate(parts, data, variables),
            cell.folder,
            stop,
            report=report,
        )
        result = _training_facts(parts, data, outcome)
        model, task, variables = parts.model, parts.task, outcome.variables
        save_variables(cell.folder / "variables", variables)
    else:
        model, task, variables = load_model(cell.config, data_facts(data), cell.trained_in)
        result = {"trained_in": cell.trained_in.name}
    result |= _evaluate_cell(cell, model, task, variables, data, tested)
    result |= {
        "key": cell.key,
        "point": cell.point,
        "version": attn_jax.__version__,
        "jax": jax.__version__,
        "host": f"{socket.gethostname()}, {platform.machine()}, {jax.device_count()} {jax.devices()[0].device_kind}",
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    saliency.forget(cell)
    write_json(cell.folder / "result.json", result)
    with contextlib.suppress(FileNotFoundError):
        (cell.folder / "failure.json").unlink()
    shutil.rmtree(cell.folder / "checkpoints", ignore_errors=True)
    saliency.score(cell, data)
    return result


def redraw(cell: Cell, data: Prepared, tested: Prepared | None) -> None:
    """Predicts and draws a finished cell anew, without training, where another layer or class is asked for."""
    result = cell.result()
    if result is None:
        return
    with np.load(cell.folder / "maps.npz") as stored:
        shown = tested or data
        same = np.array_equal(stored["target"], maps.explained(shown, shown.rows("test")))
    if same and result.get("layer") == cell.config.explain.layer:
        return
    model, task, variables = load_model(cell.config, data_facts(data), cell.trained_in or cell.folder)
    write_json(cell.folder / "result.json", result | _evaluate_cell(cell, model, task, variables, data, tested))


def as_predictions(data: Prepared, rows: np.ndarray, scores: np.ndarray, part: str) -> records.Predictions:
    """Scores [N, K] of some rows as the table that every statistic reads; `part` goes into its split."""
    return records.Predictions(
        image_id=data.image_ids[rows],
        label=data.labels[rows],
        score=scores.astype(np.float64),
        classes=data.classes,
        kind=data.kind,
        positive=data.positive,
        group=None if data.groups is None else data.groups[rows],
        split=np.full(len(rows), part),
        dataset=data.name,
        columns=data.columns.iloc[rows].reset_index(drop=True) if data.columns.shape[1] else None,
    )


def _validate(parts: Parts, data: Prepared, variables: dict[str, Any]) -> dict[str, float]:
    """Loss and metrics of the validation part; undefined ones are NaN."""
    rows = data.rows("val")
    with progress.task("validating"):
        scores = predict(parts.engine, variables, data.images, data.labels, rows, parts.batch_size)
    batch = {"label": jnp.asarray(data.labels[rows]), "weight": jnp.ones(len(rows))}
    sums = parts.task.metrics(jnp.asarray(scores), batch)
    metrics = evaluate(as_predictions(data, rows, scores, "test"), ordinal=data.ordinal).metrics
    values = {name: math.nan if value is None else value for name, value in metrics.items()}
    return {"loss": float(sums["loss_sum"] / sums["weight"]), **values}


def _training_facts(parts: Parts, data: Prepared, outcome: Fit) -> dict[str, Any]:
    example = jax.ShapeDtypeStruct((1, *data.images.shape[1:]), jnp.float32)
    variables = {"params": outcome.variables["params"], "batch_stats": outcome.variables["batch_stats"]}
    macs = cost.macs(lambda v, x: parts.model.apply(v, x, train=False), variables, example)
    return {
        "parameters": cost.parameters(outcome.variables),
        "gmacs": macs / 1e9,
        "step_bytes": outcome.progress.step_bytes,
        "step_seconds": outcome.step_seconds,
        "compile_seconds": outcome.progress.compile_seconds,
        "train_seconds": outcome.progress.seconds,
        "steps": outcome.steps,
        "best_step": outcome.progress.best_step,
        "best_validation": outcome.progress.best_metric,
        "devices": len(parts.engine.devices),
    }


def _evaluate_cell(
    cell: Cell,
    model: nn.Module,
    task: Classification,
    variables: dict[str, Any],
    data: Prepared,
    tested: Prepared | None,
) -> dict[str, Any]:
    """Predicts validation and test images, draws the maps of the test images, and judges."""
    target = tested or data
    val, test = data.rows("val"), target.rows("test")
    with progress.task("predicting"):
        scores = [
            predict_rows(model, task, variables, data.images, val),
            predict_rows(model, task, variables, target.images, test),
        ]
    validation, test_table = (
        as_predictions(data, val, scores[0], "val"),
        as_predictions(target, test, scores[1], "test"),
    )
    if tested is not None:  # two data sets may use the same names
        named = np.array([f"{data.name}/{image_id}" for image_id in validation.image_id])
        validation = dataclasses.replace(validation, image_id=named, columns=None)
        test_table = dataclasses.replace(test_table, columns=None)
    predictions = dataclasses.replace(
        records.concatenate([validation, test_table]), model=cell.arm, seed=str(cell.config.seed), dataset=target.name
    )
    records.write(cell.folder / "predictions.parquet", predictions)
    with progress.task("drawing class activation maps"):
        targets = maps.explained(target, test)
        drawn = maps.draw(model, task, variables, target, test, targets, cell.config.explain.layer or None)
        maps.write(cell.folder / "maps.npz", target, test, targets, drawn)
    return {
        "evaluation": evaluate(predictions, ordinal=target.ordinal).to_json(),
        "saliency": maps.places(target, test, drawn),
        "layer": cell.config.explain.layer,
    }


def predict_rows(
    model: nn.Module, task: Classification, variables: dict[str, Any], images: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Scores [len(rows), K] of the rows of `images`, on one device."""
    parts = []
    for start in range(0, len(rows), maps.BATCH):
        chosen = rows[start : start + maps.BATCH]
        padded = np.resize(chosen, maps.BATCH)  # one shape, one compile
        parts.append(np.asarray(_scores(model, task, variables, images[padded]))[: len(chosen)])
    return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _scores(model: nn.Module, task: Classification, variables: Any, images: Array) -> Array:
    return task.predict(model, variables, {"image": images})
