"""Which mechanisms have every proof in the short suite."""

from collections.abc import Iterable
from typing import Any

import pytest

OFTEN = ("se", "gc", "cbam", "coordinate", "simam", "lka", "non_local", "double", "sk", "mhsa", "halo", "lambda")
"""One of each kind; those of the others take minutes to compile."""


def often(names: Iterable[str]) -> list[Any]:
    """As parameters of a test, all but `OFTEN` for the full suite only."""
    return [name if name in OFTEN else pytest.param(name, marks=pytest.mark.full) for name in names]
