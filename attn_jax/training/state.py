"""Everything a training run carries from step to step."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn


@flax.struct.dataclass
class TrainState:
    """A pytree, checkpointed whole.

    Attributes:
        step: steps done, int32.
        rng: key from which every random number of every step is folded.
        params: what the optimiser changes.
        batch_stats: running statistics of the normalisation layers.
        opt_state: the optimiser's own.
        ema: moving average of `params`, or an empty dict where none is kept.
        constants: fixed arrays the task needs (`mean`, `std`, `class_weight`): in the state, so that another fold or
            seed does not recompile the step.
    """

    step: jax.Array
    rng: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any
    constants: Any

    def variables(self) -> dict[str, Any]:
        """What is evaluated: the averaged parameters where there are any."""
        return {"params": self.ema or self.params, "batch_stats": self.batch_stats, "constants": self.constants}


def create(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, ...],
    constants: Mapping[str, jax.Array],
    *,
    seed: int,
    average: bool = False,
) -> TrainState:
    """Initialises the state under `jit` from a seed, in the dtype of `constants["mean"]`.

    Args:
        model: the network.
        optimizer: gives the optimiser's state.
        image_shape: one image, [*space, C].
        constants: see `TrainState`.
        seed: of the initialisation and of all later randomness.
        average: keep a moving average of the parameters.
    """

    @jax.jit
    def initialise(key: jax.Array) -> TrainState:
        init_key, step_key = jax.random.split(key)
        example = jnp.zeros((1, *image_shape), constants["mean"].dtype)
        variables = model.init(init_key, example, train=False)
        params = variables["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            rng=step_key,
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(params),
            ema=jax.tree.map(jnp.copy, params) if average else {},
            constants={},
        )

    return initialise(jax.random.key(seed)).replace(constants=dict(constants))
