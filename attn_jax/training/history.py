"""Metrics over time: one JSON line each, and the same as TensorBoard events."""

import json
import math
import os
import pathlib

import jax


class History:
    """Writes `metrics.jsonl` and TensorBoard events in `folder`, on the first host only; use as a context manager."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "metrics.jsonl"
        self._writing = jax.process_index() == 0
        self._events = None

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()

    def cut(self, step: int) -> None:
        """Drops what was noted after `step`, by a run that was killed before it saved; must come before `write`."""
        if not self._writing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read(self.path) if line["step"] <= step]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(partial, self.path)
        from tensorboardX import SummaryWriter

        self._events = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, step: int, epoch: float, values: dict[str, float]) -> None:
        """Notes the values; NaN (undefined) is left out."""
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        if not self._writing or not known:
            return
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "epoch": round(epoch, 4), **known}) + "\n")
        assert self._events is not None, "cut() comes first"
        for name, value in known.items():
            self._events.add_scalar(name.replace("_", "/", 1), value, step)


def read(path: pathlib.Path) -> list[dict[str, float]]:
    """The lines of a history; a last line that a kill cut off is left out."""
    lines = []
    if path.exists():
        for text in path.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines
