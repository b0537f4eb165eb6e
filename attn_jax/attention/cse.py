"""Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks, arXiv 1803.02579: cSE.

It is squeeze and excitation with half as many hidden units as channels, where SE has a sixteenth; both layers are
biased, as in the authors' code.
"""

from attn_jax.attention.se import SE


class CSE(SE):
    """Scales each channel by a gate computed from the means of all channels.

    Sows the gates, `"channel"` [B, C]. At initialisation they lie near one half: it about halves its input.
    """

    reduction: int = 2
