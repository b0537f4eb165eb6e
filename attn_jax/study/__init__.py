"""The grid: cells, their keys, what is done and what is left, and the runner.

`run(config, workdir)` runs a study, `load(workdir)` gives what came out of one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn_jax.study.results import Study as Study
    from attn_jax.study.results import load as load
    from attn_jax.study.runner import run as run

__all__ = ["Study", "load", "run"]


def __getattr__(name: str) -> Any:
    """Imports on first use: a config file needs the defaults alone."""
    import importlib

    if name == "run":
        return importlib.import_module("attn_jax.study.runner").run
    if name in ("load", "Study"):
        return getattr(importlib.import_module("attn_jax.study.results"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
