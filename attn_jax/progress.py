"""Progress lines for whatever lasts: one line that is redrawn on a terminal, plain lines elsewhere.

Nothing is printed in the first three seconds. While the main thread is busy (compiling, decoding), a background thread
keeps the line alive.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_QUIET_SECONDS = 3.0
_PLAIN_SECONDS = 15.0


def duration(seconds: float) -> str:
    """A duration for people: `8 s`, `3 min 20 s`, `2 h 05 min`."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Task:
    """One running piece of work; `update` changes what its line says."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.text = ""
        self.started = time.monotonic()

    def update(self, text: str) -> None:
        """Replaces what stands behind the label."""
        self.text = text

    def line(self) -> str:
        """The line as it stands now, with the time elapsed."""
        middle = f": {self.text}" if self.text else ""
        return f"{self.label}{middle} ({duration(time.monotonic() - self.started)})"


class _Painter:
    """Draws the innermost running task, from a thread of its own that lives as long as any task does."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.drawn = False
        self.last_plain = float("-inf")

    def push(self, task: Task) -> None:
        with self.lock:
            self.tasks.append(task)
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._run, name="attn_jax-progress", daemon=True)
                self.thread.start()

    def pop(self, task: Task) -> None:
        with self.lock:
            self.tasks.remove(task)
            if not self.tasks:
                self._clear()

    def message(self, text: str) -> None:
        with self.lock:
            self._clear()
            print(text, file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self.drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.drawn = False

    def _run(self) -> None:
        while True:
            time.sleep(0.5)
            with self.lock:
                if not self.tasks:
                    self.thread = None
                    return
                self._paint(" | ".join(t.line() for t in self.tasks), time.monotonic())

    def _paint(self, line: str, now: float) -> None:
        if now - self.tasks[-1].started < _QUIET_SECONDS and len(self.tasks) == 1:
            return
        if sys.stderr.isatty():
            sys.stderr.write("\r" + line[:200] + "\x1b[K")
            sys.stderr.flush()
            self.drawn = True
        elif now - self.last_plain >= _PLAIN_SECONDS:
            print(line, file=sys.stderr, flush=True)
            self.last_plain = now


_painter = _Painter()


def message(text: str) -> None:
    """Prints one line on stderr without tearing the progress line."""
    _painter.message(text)


@contextlib.contextmanager
def task(label: str) -> Iterator[Task]:
    """Shows `label` and the time elapsed while the block runs; yields the task, whose `update` adds words."""
    current = Task(label)
    _painter.push(current)
    try:
        yield current
    finally:
        _painter.pop(current)


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Passes `items` through and shows how many of `total` are done and the time left."""
    with task(label) as current:
        for done, item in enumerate(items):
            if done and total:
                left = (time.monotonic() - current.started) / done * (total - done)
                current.update(f"{done} of {total}, {duration(left)} left")
            yield item
