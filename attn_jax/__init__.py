"""Studies of self-attention in medical image analysis, in JAX and Flax.

Dimension letters, the same in every docstring and array annotation: ``B`` batch, ``H W D`` space, ``N`` tokens,
``C`` channels, ``K`` heads (or classes, where there are no heads), ``E`` head depth. Images are channels-last.
"""

__version__ = "0.1.0"
