"""A checkpoint is whole or does not count."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attn_jax.training.checkpoint import Checkpoints


def tree(value: float) -> dict:
    return {"a": jnp.full((64, 64), value), "b": {"rng": jax.random.key(int(value))}}


def save(folder: pathlib.Path, *steps: int) -> None:
    with Checkpoints(folder) as checkpoints:
        for step in steps:
            checkpoints.save(step, tree(step), {"position": step})


def restored_step(folder: pathlib.Path) -> int | None:
    with Checkpoints(folder) as checkpoints:
        found = checkpoints.restore(tree(0))
    if found is None:
        return None
    step, values, facts = found
    np.testing.assert_array_equal(values["a"], np.full((64, 64), step))
    assert jax.random.key_data(values["b"]["rng"]).tolist() == jax.random.key_data(jax.random.key(step)).tolist()
    assert facts == {"position": step}
    return step


def largest_file(folder: pathlib.Path) -> pathlib.Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_the_newest_of_those_kept_is_restored(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 1, 2, 3)
    assert restored_step(tmp_path) == 3
    assert sorted(p.name for p in (tmp_path / "steps").iterdir()) == ["2", "3"]
    assert sorted(p.name for p in (tmp_path / "digests").iterdir()) == ["2.json", "3.json"]


def test_nothing_saved_restores_nothing(tmp_path: pathlib.Path) -> None:
    assert restored_step(tmp_path) is None


def flip_a_byte(step: pathlib.Path) -> None:
    path = largest_file(step)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(step: pathlib.Path) -> None:
    path = largest_file(step)
    path.write_bytes(path.read_bytes()[:-10])


def lose_a_file(step: pathlib.Path) -> None:
    largest_file(step).unlink()


def lose_the_digest(step: pathlib.Path) -> None:
    (step.parent.parent / "digests" / f"{step.name}.json").unlink()


def spoil_the_digest(step: pathlib.Path) -> None:
    (step.parent.parent / "digests" / f"{step.name}.json").write_text('{"half": ')


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, lose_a_file, lose_the_digest, spoil_the_digest])
def test_a_damaged_step_falls_back_to_the_one_before(damage, tmp_path: pathlib.Path, capsys) -> None:
    save(tmp_path, 1, 2)
    damage(tmp_path / "steps" / "2")
    assert restored_step(tmp_path) == 1
    assert f"steps{'/'}2 is not used" in capsys.readouterr().err
    save(tmp_path, 2)
    assert restored_step(tmp_path) == 2


def test_all_damaged_starts_anew(tmp_path: pathlib.Path) -> None:
    save(tmp_path, 1, 2)
    flip_a_byte(tmp_path / "steps" / "1")
    lose_a_file(tmp_path / "steps" / "2")
    assert restored_step(tmp_path) is None
