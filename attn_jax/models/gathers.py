"""What a program that is cut up over devices sends whole from one to another, read from its compiled text."""

import math
import re
from typing import NamedTuple

_COLLECTIVE = re.compile(
    r"^\s*(?:ROOT )?%?[\w.-]+ = (?P<result>.+?) "
    r"(?P<operation>all-gather|all-to-all|ragged-all-to-all|all-reduce)(?P<start>-start)?\(",
    re.MULTILINE,
)
_SHAPE = re.compile(r"\b[a-z]\w*\[([\d,]*)\]")


class Transfer(NamedTuple):
    """A collective operation.

    Attributes:
        operation: `"all-gather"`, `"all-to-all"`, `"ragged-all-to-all"` or `"all-reduce"`, the last because a
            partitioner may also gather by a sum of parts that are zero elsewhere.
        elements: of its result on each device; of a tuple (several arrays sent at once), of the whole tuple.
    """

    operation: str
    elements: int


def transfers(compiled: str) -> list[Transfer]:
    """The collective operations of a program, from what `jax.jit(f).lower(...).compile().as_text()` gives.

    An asynchronous one counts where it starts. Exchanges between neighbours (`collective-permute`), by which windows
    reach over a cut, are left out.
    """
    found = []
    for match in _COLLECTIVE.finditer(compiled):
        sizes = [math.prod(map(int, filter(None, dims.split(",")))) for dims in _SHAPE.findall(match["result"])]
        if match["start"] and match["operation"] == "all-gather":
            sizes = sizes[len(sizes) // 2 :]  # what is sent comes first
        found.append(Transfer(match["operation"], sum(sizes)))
    return found
