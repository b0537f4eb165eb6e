"""Initial weights as PyTorch draws them."""

import math

import jax
from flax import linen as nn
from jax.nn import initializers

torch_uniform: nn.initializers.Initializer = initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""The default of PyTorch's linear and convolution layers: uniform within plus and minus 1 / sqrt(fan_in)."""

kaiming_fan_out: nn.initializers.Initializer = initializers.variance_scaling(2.0, "fan_out", "normal")
"""He's normal initialisation by outgoing connections (arXiv 1502.01852), as torchvision's ResNets have it."""

kaiming_fan_in: nn.initializers.Initializer = initializers.variance_scaling(2.0, "fan_in", "normal")
"""He's normal initialisation by incoming connections (arXiv 1502.01852)."""


def torch_bias(fan_in: int) -> nn.initializers.Initializer:
    """The default of PyTorch's biases: uniform within plus and minus 1 / sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
