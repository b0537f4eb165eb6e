"""Long proofs on whole processes: kills, SIGTERM, damaged checkpoints and compile cache, two processes at once."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.full
XLA_FLAGS = "--xla_backend_optimization_level=0"  # compiles several times as fast
TINY = [
    "--config=configs/demo.py",
    "--config.data.image_size=16",
    "--config.data.phantom.images=120",
    "--config.model.width=0.125",
    "--config.model.attention=cbam",
    "--config.grid.attention=()",
    "--config.grid.seed=()",
    "--config.training.batch_size=8",
    "--config.training.epochs=24",
    "--config.training.checkpoint_seconds=0.4",
    "--config.explain.layer=stage4_block1",
]


def start(workdir: pathlib.Path, cache: pathlib.Path, *extra: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "XLA_FLAGS": XLA_FLAGS}
    command = [sys.executable, "main.py", *TINY, f"--workdir={workdir}", *extra]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output
    return output


def cell_of(workdir: pathlib.Path) -> pathlib.Path:
    (folder,) = (workdir / "cells").glob("phantom*")
    return folder


def steps_saved(workdir: pathlib.Path) -> list[int]:
    return sorted(int(p.stem) for p in workdir.glob("cells/phantom*/checkpoints/digests/*.json"))


def wait_for(condition, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("xla")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: pathlib.Path) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("undisturbed")
    finish(start(workdir, cache))
    return workdir


def assert_same_outcome(workdir: pathlib.Path, expected: pathlib.Path) -> None:
    ours, theirs = cell_of(workdir), cell_of(expected)
    assert ours.name == theirs.name
    pd.testing.assert_frame_equal(
        pd.read_parquet(ours / "predictions.parquet"), pd.read_parquet(theirs / "predictions.parquet"), check_exact=True
    )
    assert (ours / "metrics.jsonl").read_text() == (theirs / "metrics.jsonl").read_text()
    assert not (ours / "checkpoints").exists()


def test_ten_kills_end_with_the_same_bits(
    tmp_path: pathlib.Path, cache: pathlib.Path, undisturbed: pathlib.Path
) -> None:
    """Each kill comes at a random moment after the run has gone on, mid-checkpoint included."""
    chance = random.Random(0)
    resumed_at = [0]
    for _ in range(10):
        process = start(tmp_path, cache)
        before = steps_saved(tmp_path)
        wait_for(lambda process=process, before=before: steps_saved(tmp_path) != before or process.poll() is not None)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        resumed_at.append(max(steps_saved(tmp_path), default=0))
    assert len(set(resumed_at)) > 3, f"the kills did not hit a run under way: {resumed_at}"
    finish(start(tmp_path, cache))
    assert_same_outcome(tmp_path, undisturbed)


def test_sigterm_saves_and_exits_42_and_the_same_command_goes_on(
    tmp_path: pathlib.Path, cache: pathlib.Path, undisturbed: pathlib.Path
) -> None:
    process = start(tmp_path, cache, "--config.training.checkpoint_seconds=1000")
    wait_for(lambda: list(tmp_path.glob("cells/*/metrics.jsonl")) and (cell_of(tmp_path) / "metrics.jsonl").read_text())
    assert not steps_saved(tmp_path)
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    finish(process, 42)
    assert time.monotonic() - told < 30
    assert steps_saved(tmp_path)
    finish(start(tmp_path, cache))
    assert_same_outcome(tmp_path, undisturbed)


def test_a_flipped_byte_falls_back_to_the_checkpoint_before(
    tmp_path: pathlib.Path, cache: pathlib.Path, undisturbed: pathlib.Path
) -> None:
    process = start(tmp_path, cache)
    wait_for(lambda: len(steps_saved(tmp_path)) >= 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    newest = cell_of(tmp_path) / "checkpoints" / "steps" / str(steps_saved(tmp_path)[-1])
    path = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert "falling back to the one before" in finish(start(tmp_path, cache))
    assert_same_outcome(tmp_path, undisturbed)


def test_a_truncated_compile_cache_entry_costs_one_recompile(
    tmp_path: pathlib.Path, cache: pathlib.Path, undisturbed: pathlib.Path
) -> None:
    entry = max(cache.glob("*train_step*-cache"), key=lambda p: p.stat().st_size)
    size = entry.stat().st_size
    entry.write_bytes(entry.read_bytes()[: size // 2])
    output = finish(start(tmp_path / "a", cache, "--config.seed=1"))
    assert "was damaged and is deleted" in output
    assert entry.stat().st_size == pytest.approx(size, rel=0.01)
    output = finish(start(tmp_path / "b", cache, "--config.seed=2"))
    assert "damaged" not in output and "Error reading" not in output


def test_two_processes_share_a_working_directory(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    grid = ["--config.grid.seed=0,1,2,3", "--config.training.epochs=4"]
    processes = [start(tmp_path, cache, *grid) for _ in range(2)]
    outputs = [finish(process) for process in processes]
    assert len(list(tmp_path.glob("cells/phantom*/result.json"))) == 4
    trained = [line for output in outputs for line in output.splitlines() if ": AUC " in line]
    assert len(trained) == 4, "a cell was run twice"
    assert all("report: " in output for output in outputs)


def test_a_failed_cell_is_recorded_and_tried_again(tmp_path: pathlib.Path, cache: pathlib.Path) -> None:
    """With a learning rate at which the loss overflows one cell fails, the other is done; the next call tries again."""
    grid = [
        "--config.grid.learning_rate=1e-3,1e30",
        "--config.optim.name=sgd",
        "--config.optim.clip_norm=0",
        "--config.training.epochs=3",
    ]
    output = finish(start(tmp_path, cache, *grid), 3)
    (failure,) = tmp_path.glob("cells/*/failure.json")
    reason = json.loads(failure.read_text())["reason"]
    assert "NotFinite" in reason and "at step" in reason
    assert reason in output
    assert len(list(tmp_path.glob("cells/*/result.json"))) == 1
    again = finish(start(tmp_path, cache, *grid), 3)
    assert again.count("NotFinite") >= 1
    listed = finish(start(tmp_path, cache, *grid, "--list"))
    assert "failed" in listed and "1 done" in listed
