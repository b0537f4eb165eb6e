"""Being told to stop: SIGTERM of a spot machine or a scheduler, and Ctrl-C."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

EXIT_PREEMPTED = 42
EXIT_INTERRUPTED = 130
_CODES = {signal.SIGTERM: EXIT_PREEMPTED, signal.SIGINT: EXIT_INTERRUPTED}


class Stopped(Exception):
    """The run was told to stop and what it had is saved; `code` is the process's exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"stopped with exit code {code}")
        self.code = code


class StopFlag:
    """Says whether a signal has come; without `listen` it never has."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.noticed = threading.Event()
        self._training = False

    def __bool__(self) -> bool:
        if self.code is not None:
            self.noticed.set()
        return self.code is not None

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """While the block runs a signal only raises the flag; elsewhere there is nothing to save and it ends all."""
        self._training = True
        try:
            yield
        finally:
            self._training = False
        if self.code is not None:
            raise Stopped(self.code)

    def _handle(self, number: int, frame: object) -> None:
        again = self.code is not None
        self.code = _CODES[signal.Signals(number)]
        if again or not self._training:
            self.noticed.set()
            raise Stopped(self.code)


@contextlib.contextmanager
def listen(grace_seconds: float = 20.0) -> Iterator[StopFlag]:
    """Turns SIGTERM and SIGINT into a flag while the block runs (in the main thread).

    Python runs signal handlers between bytecodes only, and one XLA compile may last longer than a scheduler waits. So a
    second thread hears the signal at once, and ends the process after `grace_seconds` if the loop has not looked at the
    flag by then: the checkpoints on disk are whole at every moment, so no more is lost than the steps since the last.
    """
    flag = StopFlag()
    inlet, outlet = socket.socketpair()
    outlet.setblocking(False)

    def watch() -> None:
        heard = inlet.recv(1)
        if heard and not flag.noticed.wait(grace_seconds):
            os._exit(_CODES.get(signal.Signals(heard[0]), EXIT_PREEMPTED))

    handlers = {number: signal.signal(number, flag._handle) for number in _CODES}
    wakeup = signal.set_wakeup_fd(outlet.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="attn_jax-signals", daemon=True)
    watcher.start()
    try:
        yield flag
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        outlet.close()
        watcher.join()
        inlet.close()
