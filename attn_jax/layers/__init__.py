"""What attention mechanisms and networks share; each layer is computed in the way that is fast on its platform."""

from attn_jax.layers.attention_pool import attention_logits, attention_pooling
from attn_jax.layers.conv import Conv, convolve
from attn_jax.layers.drop_path import Dropout, DropPath
from attn_jax.layers.gate import GateMLP, largest_divisor, over_space, reduced
from attn_jax.layers.norm import BatchNorm, GroupNorm
from attn_jax.layers.pooling import (
    adaptive_average,
    avg_pool,
    global_average,
    global_max,
    max_and_mean,
    max_pool,
    maximum,
    sample_deviation,
)
from attn_jax.layers.position import position_table
from attn_jax.layers.resize import resize_linear, resize_nearest
from attn_jax.layers.vector import channel_dot, weighted_sum

__all__ = [
    "BatchNorm",
    "Conv",
    "DropPath",
    "Dropout",
    "GateMLP",
    "GroupNorm",
    "adaptive_average",
    "attention_logits",
    "attention_pooling",
    "avg_pool",
    "channel_dot",
    "convolve",
    "global_average",
    "global_max",
    "largest_divisor",
    "max_and_mean",
    "max_pool",
    "maximum",
    "over_space",
    "position_table",
    "reduced",
    "resize_linear",
    "resize_nearest",
    "sample_deviation",
    "weighted_sum",
]
