"""The loop: steps, validation, early stop, checkpoints; interrupted anywhere, it ends with the same bits."""

import collections
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from attn_jax import progress
from attn_jax.data.pipeline import TrainingBatches, evaluation_batches, prefetch
from attn_jax.training.checkpoint import Checkpoints
from attn_jax.training.history import History
from attn_jax.training.mesh import Engine
from attn_jax.training.preemption import StopFlag
from attn_jax.training.state import TrainState

# More than a few steps in flight deadlock several CPU devices, and no accelerator gains by them.
IN_FLIGHT = 4


class NotFinite(Exception):
    """The loss became NaN or infinite; the message names the step and the last good checkpoint."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to train and when to look.

    Attributes:
        epochs: passes over the training images.
        eval_every: epochs between validations.
        metric: validation metric that picks the best parameters; `"loss"` is minimised, all others are maximised.
        patience: validations without a better metric after which training stops; 0 never stops early.
        log_every: steps between lines of the history.
        checkpoint_seconds: least time between two checkpoints.
        steps_per_epoch: updates in one pass.
        keep_last: the last parameters are kept instead, whatever validation says, and nothing stops early.
    """

    epochs: int
    eval_every: int
    metric: str
    patience: int
    log_every: int
    checkpoint_seconds: float
    steps_per_epoch: int
    keep_last: bool = False

    @property
    def total_steps(self) -> int:
        """Updates of a run that is not stopped early."""
        return self.epochs * self.steps_per_epoch


@dataclasses.dataclass
class Progress:
    """What decides how a run goes on, beside the state: saved with every checkpoint."""

    best_metric: float | None = None
    best_step: int = 0
    since_best: int = 0
    finished: bool = False
    seconds: float = 0.0
    compile_seconds: float = 0.0
    timed_steps: int = 0
    timed_seconds: float = 0.0
    step_bytes: float | None = None
    pipeline: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Fit:
    """A finished training: the best variables on validation, and how it went."""

    variables: dict[str, Any]
    progress: Progress
    steps: int

    @property
    def step_seconds(self) -> float | None:
        """Mean wall time of a step, compilation and validation left out."""
        return self.progress.timed_seconds / self.progress.timed_steps if self.progress.timed_steps else None


def fit(
    engine: Engine,
    state: TrainState,
    batches: TrainingBatches,
    plan: Plan,
    validate: Callable[[dict[str, Any]], dict[str, float]],
    folder: pathlib.Path,
    stop: StopFlag,
    *,
    report: Callable[[float], None] = lambda fraction: None,
) -> Fit:
    """Trains to the end of `plan`, from the newest whole checkpoint in `folder` if there is one.

    Args:
        engine: the compiled steps.
        state: the initial state.
        batches: training batches; their position is part of every checkpoint.
        plan: when to stop and look.
        validate: metrics of variables on the validation part; `plan.metric` must be among them.
        folder: gets `checkpoints/`, `metrics.jsonl` and TensorBoard events.
        stop: raised from outside: the run is saved and `Stopped` ends it.
        report: told the share of the plan that is done, after every step.

    Raises:
        NotFinite: the loss is NaN or infinite.
        preemption.Stopped: told to stop; everything is saved.
    """
    with Checkpoints(folder / "checkpoints") as checkpoints, History(folder) as history, stop.training():
        run = _Run(engine, engine.put_state(state), batches, plan, validate, checkpoints, history)
        run.restore()
        run.train(stop, report)
        return Fit(run.best, run.progress, int(run.state.step))


class _Run:
    def __init__(
        self,
        engine: Engine,
        state: TrainState,
        batches: TrainingBatches,
        plan: Plan,
        validate: Callable[[dict[str, Any]], dict[str, float]],
        checkpoints: Checkpoints,
        history: History,
    ) -> None:
        self.engine, self.state, self.batches, self.plan = engine, state, batches, plan
        self.validate, self.checkpoints, self.history = validate, checkpoints, history
        self.best = jax.tree.map(jax.numpy.copy, state.variables())
        self.progress = Progress()
        self.train_step: Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]] = engine.train
        self.saved_step, self.saved_at = 0, time.monotonic()
        self.step = 0

    def restore(self) -> None:
        like = {"state": self.state, "best": self.best}
        found = self.checkpoints.restore(like)
        if found is None:
            self.history.cut(0)
            return
        self.step, tree, facts = found
        self.saved_step = self.step
        self.state, self.best = tree["state"], tree["best"]
        self.progress = Progress(**facts)
        self.batches.set_state(self.progress.pipeline)
        self.history.cut(self.step)

    def train(self, stop: StopFlag, report: Callable[[float], None]) -> None:
        plan = self.plan
        pending: collections.deque[tuple[int, dict[str, jax.Array]]] = collections.deque()
        started, clock = time.monotonic(), None
        before = self.progress.seconds
        for batch, position in self._ahead():
            if clock is None:
                clock = self._prepare(batch)
            self._one_step(batch, pending)
            self.progress.pipeline = position
            report(self.step / plan.total_steps)
            if self.step % (plan.eval_every * plan.steps_per_epoch) == 0 or self.step == plan.total_steps:
                self._drain(pending)
                self.progress.timed_seconds += time.monotonic() - clock
                self._look()
                clock = time.monotonic()
            self.progress.seconds = before + time.monotonic() - started
            done = self.progress.finished or self.step >= plan.total_steps
            told = bool(stop) or self.checkpoints.reached_preemption(self.step)
            if done or told or time.monotonic() - self.saved_at > plan.checkpoint_seconds:
                self._drain(pending)
                self._save()
            self.checkpoints.settle(wait=False)
            if done or told:
                return

    def _ahead(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Batches on their devices with the pipeline's position behind each; none if the run is over."""
        if self.progress.finished or self.step >= self.plan.total_steps:
            return
        with prefetch(self.batches, self.engine.put_batch) as ahead:
            yield from ahead

    def _prepare(self, batch: Any) -> float:
        with progress.task("compiling the training step") as task:
            compiled = self.engine.train.lower(self.state, batch).compile()
            self.progress.compile_seconds += time.monotonic() - task.started
        self.progress.step_bytes = (compiled.cost_analysis() or {}).get("bytes accessed")
        self.train_step = compiled
        return time.monotonic()

    def _one_step(self, batch: Any, pending: collections.deque) -> None:
        self.state, metrics = self.train_step(self.state, batch)
        self.step += 1
        self.progress.timed_steps += 1
        pending.append((self.step, metrics))
        while len(pending) >= IN_FLIGHT:
            self._note(*pending.popleft())

    def _drain(self, pending: collections.deque) -> None:
        while pending:
            self._note(*pending.popleft())

    def _note(self, step: int, metrics: dict[str, jax.Array]) -> None:
        values = {name: float(np.asarray(value)) for name, value in metrics.items()}
        if not math.isfinite(values["loss"]):
            good = (
                f"the last good checkpoint is step {self.saved_step}"
                if self.saved_step
                else "there is no checkpoint yet"
            )
            raise NotFinite(f"the loss is {values['loss']} at step {step}; {good} in {self.checkpoints.folder}.")
        if step % self.plan.log_every == 0:
            self.history.write(step, step / self.plan.steps_per_epoch, {f"train_{k}": v for k, v in values.items()})

    def _look(self) -> None:
        """Validates, and keeps the variables if they are the best so far, or the last are wanted."""
        variables = self.state.variables()
        values = self.validate(variables)
        self.history.write(self.step, self.step / self.plan.steps_per_epoch, {f"val_{k}": v for k, v in values.items()})
        current = values.get(self.plan.metric, math.nan)
        if self.plan.metric == "loss":
            current = -current
        best = self.progress.best_metric
        if self.plan.keep_last or best is None or current > best:
            # Copied: the step that follows is given the state's own buffers to overwrite.
            self.best = jax.tree.map(jax.numpy.copy, variables)
            self.progress.best_metric = None if math.isnan(current) else current
            self.progress.best_step, self.progress.since_best = self.step, 0
        else:
            self.progress.since_best += 1
        self.progress.finished = 0 < self.plan.patience <= self.progress.since_best

    def _save(self) -> None:
        facts = dataclasses.asdict(self.progress)
        self.checkpoints.save(self.step, {"state": self.state, "best": self.best}, facts)
        self.saved_step, self.saved_at = self.step, time.monotonic()


def predict(
    engine: Engine, variables: dict[str, Any], images: np.ndarray, labels: np.ndarray, rows: np.ndarray, batch_size: int
) -> np.ndarray:
    """Scores [len(rows), K] of the given rows, each exactly once and in their order."""
    batch_size = engine.padded(min(batch_size, max(len(rows), 1)))
    shard = (jax.process_index(), jax.process_count())
    variables = engine.put_state(variables)
    parts = []
    for batch in evaluation_batches(images, labels, rows, batch_size=batch_size, shard=shard):
        on_device = engine.put_batch({name: batch[name] for name in ("image", "label", "weight")})
        parts.append(np.asarray(engine.predict(variables, on_device)))
    return np.concatenate(parts)[: len(rows)]
