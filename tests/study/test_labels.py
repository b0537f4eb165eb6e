"""Training on shuffled labels: what is shuffled, and what is not."""

import dataclasses
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from attn_jax.data.prepare import Prepared, prepare
from attn_jax.errors import UserError
from attn_jax.study import grid
from attn_jax.study.build import make_parts, training_labels
from attn_jax.study.defaults import default_config


def config(labels: str, seed: int = 0) -> ConfigDict:
    made = default_config()
    made.seed = seed
    made.data.update(dict(source="phantom", image_size=16, channels=1, labels=labels, phantom=dict(images=60)))
    made.model.update(dict(width=0.125, stem="small"))
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(config("random").data, pathlib.Path(tmp_path_factory.mktemp("cache")))


def test_only_labels_of_the_training_part_are_shuffled(data: Prepared) -> None:
    train = data.rows("train")
    shuffled = [training_labels(config("random", seed), data) for seed in (0, 0, 1)]
    for labels in shuffled:
        np.testing.assert_array_equal(np.delete(labels, train), np.delete(data.labels, train))
        np.testing.assert_array_equal(np.sort(labels[train]), np.sort(data.labels[train]))
        assert 0.3 < (labels[train] != data.labels[train]).mean() < 0.7
    np.testing.assert_array_equal(shuffled[0], shuffled[1])
    assert (shuffled[0] != shuffled[2]).any()
    assert training_labels(config("true"), data) is data.labels


def test_the_findings_of_an_image_stay_together(data: Prepared) -> None:
    findings = np.arange(2 * len(data.labels), dtype=np.float32).reshape(-1, 2)
    labels = training_labels(config("random"), dataclasses.replace(data, labels=findings))
    np.testing.assert_array_equal(labels[:, 1], labels[:, 0] + 1)
    assert sorted(labels[:, 0]) == sorted(findings[:, 0])


def test_training_sees_the_shuffled_labels(data: Prepared) -> None:
    batch = next(make_parts(config("random"), data).batches)
    np.testing.assert_array_equal(batch["label"], training_labels(config("random"), data)[batch["row"]])
    assert (batch["label"] != data.labels[batch["row"]]).any()


def test_labels_are_an_axis_of_the_grid() -> None:
    made = config("true")
    made.grid.attention, made.grid.seed, made.grid.labels = (), (), ("true,random",)
    points = grid.expand(made)
    assert [grid.resolve(made, point).data.labels for point in points] == ["true", "random"]
    made.grid.labels = ("shuffled",)
    with pytest.raises(UserError, match=r"config.grid.labels='shuffled' is unknown"):
        grid.expand(made)
