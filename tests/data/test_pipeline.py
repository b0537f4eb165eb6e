import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from attn_jax.data.pipeline import TrainingBatches, evaluation_batches, prefetch

_LABELS = np.array([0] * 30 + [1] * 8 + [2] * 3, np.int32)
_IMAGES = np.arange(41, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
_ROWS = np.delete(np.arange(41), [0, 5, 31])


def _batches(**changes: Any) -> TrainingBatches:
    settings = {"batch_size": 8, "seed": 0, **changes}
    return TrainingBatches(
        settings.pop("images", _IMAGES), settings.pop("labels", _LABELS), settings.pop("rows", _ROWS), **settings
    )


def _drawn(batches: TrainingBatches, count: int) -> list[dict[str, np.ndarray]]:
    return list(itertools.islice(batches, count))


def _assert_equal(first: list[dict[str, np.ndarray]], second: list[dict[str, np.ndarray]]) -> None:
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_an_epoch_holds_each_row_once_in_a_new_order() -> None:
    drawn = _drawn(_batches(), 19)  # 152 = 4 * 38 rows
    rows = np.concatenate([batch["row"] for batch in drawn]).reshape(4, 38)
    for epoch in rows:
        assert sorted(epoch) == list(_ROWS)
    assert (rows[0] != rows[1]).mean() > 0.5 and (rows[0] != _ROWS).mean() > 0.5
    for batch in drawn:
        assert batch["image"].shape == (8, 4, 4, 1) and batch["image"].dtype == np.uint8
        np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["row"])
        np.testing.assert_array_equal(batch["label"], _LABELS[batch["row"]])
        assert batch["index"].tolist() == list(range(8)) and batch["index"].dtype == batch["row"].dtype == np.int32


def test_the_seed_decides() -> None:
    _assert_equal(_drawn(_batches(), 5), _drawn(_batches(rows=_ROWS[::-1]), 5))
    assert any(
        (a["row"] != b["row"]).any() for a, b in zip(_drawn(_batches(), 5), _drawn(_batches(seed=1), 5), strict=True)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("options", [{}, {"sampling": "balanced", "pairs": True}])
def test_shards_make_up_the_same_batch(count: int, options: dict[str, Any]) -> None:
    whole = _drawn(_batches(**options), 4)
    shards = [_drawn(_batches(shard=(at, count), **options), 4) for at in range(count)]
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shards, strict=True)
    ]
    _assert_equal(whole, joined)


def test_balanced_sampling_draws_classes_equally_and_rows_evenly() -> None:
    rows = np.concatenate([batch["row"] for batch in _drawn(_batches(sampling="balanced"), 60)])
    counts = Counter(_LABELS[rows].tolist())
    assert max(counts.values()) - min(counts.values()) <= 1
    for label in range(3):
        times = Counter(rows[_LABELS[rows] == label].tolist())
        assert set(times) == set(_ROWS[_LABELS[_ROWS] == label]) and max(times.values()) - min(times.values()) <= 1


def test_balanced_sampling_of_findings_goes_by_the_rarest() -> None:
    labels = np.zeros((41, 2), np.float32)
    labels[:20, 0], labels[18:22, 1], labels[30:, 1] = 1, 1, np.nan
    rows = np.concatenate([batch["row"] for batch in _drawn(_batches(labels=labels, sampling="balanced"), 60)])
    rare = np.isin(rows, [18, 19, 20, 21]).mean()
    common = np.isin(rows, np.arange(18)).mean()
    assert abs(rare - 1 / 3) < 0.01 and abs(common - 1 / 3) < 0.01


@pytest.mark.parametrize("rows", [_ROWS, _ROWS[:2]])
def test_partners_are_other_training_images(rows: np.ndarray) -> None:
    drawn = _drawn(_batches(pairs=True, rows=rows), 40)
    partners = np.concatenate([batch["pair_image"][:, 0, 0, 0] for batch in drawn])
    assert (partners != np.concatenate([batch["row"] for batch in drawn])).all()
    assert set(partners) == set(rows)
    for batch in drawn:
        np.testing.assert_array_equal(batch["pair_label"], _LABELS[batch["pair_image"][:, 0, 0, 0]])
    assert len({tuple(batch["pair_image"][:, 0, 0, 0] - batch["row"].astype(int)) for batch in drawn}) > 1


@pytest.mark.parametrize("options", [{}, {"sampling": "balanced", "pairs": True}])
@pytest.mark.parametrize("done", [0, 1, 13])
def test_a_restored_state_goes_on_exactly(options: dict[str, Any], done: int) -> None:
    batches = _batches(**options)
    _drawn(batches, done)
    state = json.loads(json.dumps(batches.get_state()))
    expected = _drawn(batches, 7)
    fresh = _batches(**options)
    fresh.set_state(state)
    _assert_equal(_drawn(fresh, 7), expected)
    batches.set_state(state)
    _assert_equal(_drawn(batches, 7), expected)


def test_prefetched_state_is_of_the_batch_handed_out() -> None:
    expected = _drawn(_batches(), 12)
    with prefetch(_batches(), lambda batch: batch, size=4) as ahead:
        first = [next(ahead) for _ in range(5)]
        time.sleep(0.1)  # lets the thread run ahead
        state = first[-1][1]
    fresh = _batches()
    fresh.set_state(json.loads(json.dumps(state)))
    with prefetch(fresh, lambda batch: batch) as ahead:
        rest = [next(ahead)[0] for _ in range(7)]
    _assert_equal([batch for batch, _ in first] + rest, expected)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="sampling='even'"):
        _batches(sampling="even")
    with pytest.raises(ValueError, match="too few to draw pairs"):
        _batches(rows=_ROWS[:1], pairs=True)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("rows", [_ROWS, _ROWS[:8], _ROWS[:1], _ROWS[:0]])
def test_evaluation_gives_each_row_once(rows: np.ndarray, count: int) -> None:
    shards = [list(evaluation_batches(_IMAGES, _LABELS, rows, batch_size=8, shard=(at, count))) for at in range(count)]
    seen = []
    for parts in zip(*shards, strict=True):
        batch = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        assert (
            batch["image"].shape == (8, 4, 4, 1)
            and batch["label"].shape == (8,)
            and batch["weight"].dtype == np.float32
        )
        real = batch["weight"] == 1
        assert (batch["row"][~real] == -1).all() and (batch["weight"][~real] == 0).all()
        np.testing.assert_array_equal(batch["image"][real, 0, 0, 0], batch["row"][real])
        np.testing.assert_array_equal(batch["label"][real], _LABELS[batch["row"][real]])
        seen += batch["row"][real].tolist()
    assert seen == rows.tolist()


def _threads() -> int:
    return sum(thread.name == "attn_jax-prefetch" for thread in threading.enumerate())


def test_prefetch_ends_with_its_input_and_stops_its_thread() -> None:
    batches = evaluation_batches(_IMAGES, _LABELS, _ROWS, batch_size=8)
    given = list(prefetch(batches, lambda batch: batch["row"].sum()))
    assert [state for _, state in given] == [None] * 5 and sum(total for total, _ in given) == _ROWS.sum() - 2
    assert _threads() == 0
    ahead = prefetch(_batches(), lambda batch: batch)
    next(ahead)
    ahead.close()
    assert _threads() == 0 and next(ahead, None) is None
    ahead = prefetch(_batches(), lambda batch: batch)
    assert _threads() == 1
    del ahead
    assert _threads() == 0


@pytest.mark.parametrize("where", ["put", "batches"])
def test_prefetch_passes_errors_on(where: str) -> None:
    def failing() -> Iterator[dict[str, np.ndarray]]:
        yield {}
        if where == "batches":
            raise RuntimeError("broken")
        yield {"last": np.zeros(1)}

    def put(batch: dict[str, np.ndarray]) -> int:
        if batch:
            raise RuntimeError("broken")
        return 0

    ahead = prefetch(failing(), put)
    assert next(ahead) == (0, None)
    with pytest.raises(RuntimeError, match="broken"):
        next(ahead)
    assert next(ahead, None) is None and _threads() == 0


def test_an_abandoned_prefetch_does_not_keep_the_interpreter() -> None:
    program = (
        "import numpy as np\nfrom attn_jax.data.pipeline import *\nx = np.zeros((9, 2, 2, 1), np.uint8)\n"
        "batches = TrainingBatches(x, x[:, 0, 0, 0].astype(np.int32), np.arange(9), batch_size=2, seed=0)\n"
        "ahead = prefetch(batches, lambda batch: batch)\nprint(next(ahead)[1])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "next_index" in done.stdout and done.stderr == ""
