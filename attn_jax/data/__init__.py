"""Images in: sources -> decoded once -> splits -> batches -> augmentation on the device."""

import importlib
from typing import Any

_HOMES = {
    "load": "attn_jax.data.sources",
    "SOURCES": "attn_jax.data.sources",
    "Prepared": "attn_jax.data.prepare",
    "Record": "attn_jax.data.records",
    "Dataset": "attn_jax.data.records",
    "Skipped": "attn_jax.data.records",
    "BadImage": "attn_jax.data.records",
    "BadMask": "attn_jax.data.records",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a name's module when the name is first used: listing a folder needs neither TFDS nor pydicom."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
