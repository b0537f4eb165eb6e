"""Writing the report's folder: each file whole or not at all, and nothing left of an earlier report."""

import json
import os
import pathlib

INDEX = "index.json"


def write(path: pathlib.Path, content: str | bytes) -> None:
    """Writes beside the target and renames, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(partial, path)


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
