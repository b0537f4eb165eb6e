"""Signals become a flag while training, and end everything else."""

import os
import signal
import subprocess
import sys
import time

import pytest

from attn_jax.training.preemption import StopFlag, Stopped, listen


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 42), (signal.SIGINT, 130)])
def test_a_signal_in_training_waits_for_the_save(number: int, code: int) -> None:
    before = signal.getsignal(number)
    saved = []
    with listen() as stop:
        assert not stop
        with pytest.raises(Stopped) as stopped, stop.training():
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            assert stop
            saved.append("all")
    assert stopped.value.code == code
    assert saved == ["all"]
    assert signal.getsignal(number) == before


def test_a_signal_elsewhere_stops_at_once() -> None:
    with listen(), pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        pytest.fail("it went on")


def test_a_second_signal_does_not_wait() -> None:
    with listen() as stop, pytest.raises(Stopped), stop.training():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        pytest.fail("it went on")


def test_without_a_signal_nothing_is_raised() -> None:
    flag = StopFlag()
    with flag.training():
        pass
    assert not flag


def test_a_process_deep_in_a_compile_ends_in_time() -> None:
    """One long call into C stands for a compile: Python's own handler does not run before it is over."""
    code = (
        "import hashlib\n"
        "from attn_jax.training.preemption import listen\n"
        "with listen(grace_seconds=0.5) as stop, stop.training():\n"
        "    print('ready', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**8)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 42
