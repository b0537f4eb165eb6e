"""What a page is built of: sections of blocks."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Block:
    """`value` is text, facts (name to text or list), a `Table`, figures or a `Gallery`, as `kind` says.

    A block with `folded` is closed until its reader opens it; `folded` is what the closed one says.
    """

    kind: str
    value: Any
    folded: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what stands under it; `anchor` is unique on the page."""

    anchor: str
    title: str
    blocks: tuple[Block, ...] = ()
    parts: tuple["Section", ...] = ()
