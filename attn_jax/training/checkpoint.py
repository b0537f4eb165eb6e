"""Checkpoints that are whole or do not count.

Orbax writes a step in the background and puts it in place by one rename, but it restores a flipped byte without a word
and lists a step whose data is gone. So each finished step gets a digest of all its files, and a step without a digest
that holds is not there.
"""

import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp

from attn_jax import progress


class Checkpoints:
    """The checkpoints of one run in `folder`, the newest `keep` of them.

    What is saved is a pytree of arrays and a JSON-able dict. Use as a context manager: leaving it waits for the last
    write.
    """

    def __init__(self, folder: pathlib.Path, keep: int = 2) -> None:
        self.folder = folder.absolute()
        self._digests = self.folder / "digests"
        if jax.process_index() == 0:
            self._digests.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self.folder / "steps",
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True),
        )
        self._unsettled: int | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.settle()
        self._manager.close()

    def save(self, step: int, tree: Any, facts: dict[str, Any]) -> None:
        """Starts writing a step; the one before it is finished first."""
        self.settle()
        if step in self._manager.all_steps():
            return
        arguments = ocp.args.Composite(tree=ocp.args.StandardSave(tree), facts=ocp.args.JsonSave(facts))
        self._manager.save(step, args=arguments, force=True)
        self._unsettled = step

    def settle(self, *, wait: bool = True) -> None:
        """Writes the digest of the step under way once it is complete; without `wait`, only if it is by now."""
        if self._unsettled is None or (not wait and self._manager.is_saving_in_progress()):
            return
        self._manager.wait_until_finished()
        step, self._unsettled = self._unsettled, None
        if jax.process_index() == 0:
            partial = self._digests / f"{step}.json.partial"
            partial.write_text(json.dumps(_digest(self._step_folder(step))))
            os.replace(partial, self._digests / f"{step}.json")
            kept = {str(s) for s in self._manager.all_steps()}
            for old in self._digests.glob("*.json"):
                if old.stem not in kept:
                    old.unlink()

    def restore(self, like: Any) -> tuple[int, Any, dict[str, Any]] | None:
        """The newest step that is whole: (step, tree, facts), or None where there is none.

        Steps that are damaged or unfinished are named on stderr and removed.

        Args:
            like: a tree of arrays or shapes with their shardings.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        for step in sorted(self._manager.all_steps(), reverse=True):
            wrong = self._damage(step)
            if wrong is None:
                arguments = ocp.args.Composite(tree=ocp.args.StandardRestore(abstract), facts=ocp.args.JsonRestore())
                restored = self._manager.restore(step, args=arguments)
                return step, restored["tree"], restored["facts"]
            progress.message(
                f"checkpoint {self._step_folder(step)} is not used: {wrong}; falling back to the one before."
            )
            shutil.rmtree(self._step_folder(step), ignore_errors=True)
            (self._digests / f"{step}.json").unlink(missing_ok=True)
            self._manager.reload()
        return None

    def reached_preemption(self, step: int) -> bool:
        """Whether the hosts agreed that this is the step at which they are being shut down."""
        return self._manager.reached_preemption(step)

    def _step_folder(self, step: int) -> pathlib.Path:
        return self.folder / "steps" / str(step)

    def _damage(self, step: int) -> str | None:
        """What is wrong with a step, or None."""
        try:
            expected = json.loads((self._digests / f"{step}.json").read_text())
        except FileNotFoundError:
            return "it was not finished"
        except ValueError:
            return "its digest cannot be read"
        found = _digest(self._step_folder(step))
        for name in sorted(expected.keys() | found.keys()):
            if name not in found:
                return f"{name} is missing"
            if found[name] != expected.get(name):
                return f"{name} has changed"
        return None


def _digest(folder: pathlib.Path) -> dict[str, str]:
    """SHA-256 of each file below `folder`, by relative name."""
    digests = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
