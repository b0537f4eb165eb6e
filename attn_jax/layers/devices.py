"""How many devices there are, asked without waking them."""

import jax
from jax._src import xla_bridge  # no public function tells whether devices are awake


def one_device() -> bool:
    """Whether there is a single device, so that no partitioner will cut this program.

    False while no device was used yet: shapes can be traced (a study is listed, say) beside another process that holds
    the accelerator.
    """
    return xla_bridge.backends_are_initialized() and jax.device_count() == 1
