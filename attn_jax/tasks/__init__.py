"""What is learned: pure functions for the loss, the predictions and the step's metrics of a task."""

from attn_jax.tasks.classification import Classification

__all__ = ["Classification"]
