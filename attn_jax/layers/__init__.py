"""What attention mechanisms and networks share; each layer is computed in the way that is fast on its platform."""

from attn_jax.layers.conv import Conv, convolve
from attn_jax.layers.gate import GateMLP, over_space, reduced
from attn_jax.layers.norm import BatchNorm
from attn_jax.layers.pooling import global_average, global_max, max_pool, maximum

__all__ = [
    "BatchNorm",
    "Conv",
    "GateMLP",
    "convolve",
    "global_average",
    "global_max",
    "max_pool",
    "maximum",
    "over_space",
    "reduced",
]
