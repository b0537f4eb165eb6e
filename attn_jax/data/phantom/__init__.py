"""Simulated medical images with known answers: what is planted, where, in whom, and which tag gives it away."""

from attn_jax.data.phantom.cases import MODALITIES, Case, Settings, case
from attn_jax.data.phantom.simulate import simulate, tag_mask

__all__ = ["MODALITIES", "Case", "Settings", "case", "simulate", "tag_mask"]
