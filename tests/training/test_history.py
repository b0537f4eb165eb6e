"""What is noted survives a kill, and nothing is noted twice."""

import json
import math
import pathlib

from attn_jax.training.history import History, read


def test_lines_events_and_undefined_values(tmp_path: pathlib.Path) -> None:
    with History(tmp_path) as history:
        history.cut(0)
        history.write(1, 0.5, {"train_loss": 2.0})
        history.write(2, 1.0, {"val_auc": math.nan, "val_loss": 1.0})
        history.write(3, 1.5, {"val_auc": math.nan})
    assert read(tmp_path / "metrics.jsonl") == [
        {"step": 1, "epoch": 0.5, "train_loss": 2.0},
        {"step": 2, "epoch": 1.0, "val_loss": 1.0},
    ]
    (events,) = (tmp_path / "tensorboard").glob("events*")
    assert b"train/loss" in events.read_bytes()


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": s, "epoch": 0, "a": s}) + "\n" for s in (1, 2, 3)) + '{"step": 4, "ep')
    with History(tmp_path) as history:
        history.cut(2)
        history.write(3, 0, {"a": 30.0})
    assert [(line["step"], line["a"]) for line in read(path)] == [(1, 1), (2, 2), (3, 30.0)]
