"""Evidence as JSON: every number at full precision, undefined ones as null, with the version of this layout."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import attn_jax
from attn_jax.evaluation.across import Across
from attn_jax.evaluation.evidence import OnDataset, Settings

SCHEMA = 3


def document(found: Sequence[OnDataset], settings: Settings, together: Across | str) -> dict[str, Any]:
    """What `--json` writes; field names are those of the classes in `evidence`, `together` is over all data sets."""
    return {
        "schema": SCHEMA,
        "attn_jax": attn_jax.__version__,
        "settings": plain(settings),
        "datasets": [plain(of) for of in found],
        "across": None if isinstance(together, str) else plain(together),
    }


def dump(found: Sequence[OnDataset], settings: Settings, together: Across | str) -> str:
    """`document` as text."""
    return json.dumps(document(found, settings, together), indent=1, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """Dictionaries, lists, strings and numbers for anything made of dataclasses, named tuples, arrays and mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): plain(of) for name, of in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(of) for of in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
