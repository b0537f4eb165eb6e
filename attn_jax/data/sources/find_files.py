"""Finds the files that a table names, which are seldom named as they lie."""

import os
from functools import cached_property
from pathlib import Path, PurePosixPath

from attn_jax.data.masks import FOLDERS, stem


class Finder:
    """Looks a table's file names up below `root`, the table's own folder `beside`, or among all files by name.

    A name with folders in it is never matched by its last part alone: thousands of CheXpert files are called
    `view1_frontal.jpg`.
    """

    def __init__(self, root: Path, beside: Path) -> None:
        self.root = root
        self.beside = beside

    def find(self, name: str) -> Path | None:
        """The one existing file that `name` means; None when there is none or more than one."""
        if not name:
            return None
        name = name.replace("\\", "/")
        parts = PurePosixPath(name).parts
        below_first = Path(self.root, *parts[1:]) if len(parts) > 1 else None
        for path in (self.root / name, self.beside / name, below_first):
            if path is not None and path.is_file():
                return path
        found = self._by_name.get(name) or self._by_stem.get(name, []) if len(parts) == 1 else []
        return found[0] if len(found) == 1 else None

    def why_not(self, name: str) -> str:
        """What to tell about a name that `find` gave None for."""
        found = self._by_name.get(name) or self._by_stem.get(name, [])
        if len(found) > 1:
            return f"{len(found)} files have this name, among them {', '.join(map(self.relative, found[:2]))}"
        return f"no such file below {self.root}" if name else "the row names no file"

    def relative(self, path: Path) -> str:
        """The path from the root with forward slashes, or the whole path of a file elsewhere."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        index: dict[str, list[Path]] = {}
        for where, folders, names in os.walk(self.root):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "__")) and f.lower() not in FOLDERS)
            for name in sorted(names):
                index.setdefault(name, []).append(Path(where, name))
        return index

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        index: dict[str, list[Path]] = {}
        for name, paths in self._by_name.items():
            index.setdefault(stem(name), []).extend(paths)
        return index
