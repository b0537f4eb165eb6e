"""Writing the report's folder: each file whole or not at all, and nothing left of an earlier report."""

import json
import os
import pathlib

from attn_jax.errors import UserError

INDEX = "index.json"


def check(folder: pathlib.Path) -> None:
    """Whether a report can be written there, before any work; makes nothing.

    Raises:
        UserError: it is a file, or it or the folder where it would be made cannot be written to.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise UserError(f"report folder {folder}: {there} is a file; name a folder")
    if not os.access(there, os.W_OK):
        raise UserError(f"report folder {folder}: {there} cannot be written to")


def write(path: pathlib.Path, content: str | bytes) -> None:
    """Writes beside the target and renames, so that a reader never sees half a file.

    Raises:
        UserError: the disk does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path}: {error.strerror}") from None


def forget(folder: pathlib.Path, kept: set[str]) -> None:
    """Removes what the index of an earlier report lists and this one did not write again."""
    try:
        earlier = json.loads((folder / INDEX).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in set(earlier) - kept:
        target = (folder / name).resolve()
        if target.is_relative_to(folder.resolve()):
            target.unlink(missing_ok=True)
