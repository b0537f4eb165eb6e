"""What a user can mend: one clear line, never a traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the user's config, data or command; the message names the file, field or value and the way out."""


def did_you_mean(wrong: object, known: Iterable[str], *, shown: Iterable[str] | None = None) -> str:
    """`" Did you mean 'x'? Known: a, b, x."` for a name that nobody knows; lists `shown` where `known` is too long."""
    names = sorted(known)
    if not names:
        return ""
    close = difflib.get_close_matches(str(wrong), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(names if shown is None else shown)}."
