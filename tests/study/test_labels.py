"""Labels: what is shuffled to train on, which network counts then, and which class is explained of an image."""

import dataclasses
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from attn_jax.data.prepare import Prepared, prepare
from attn_jax.errors import UserError
from attn_jax.explain.grad_cam import grad_cam
from attn_jax.study import grid, maps, scoring
from attn_jax.study.build import make_parts, make_plan, training_labels
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


def test_the_network_that_fitted_the_shuffled_labels_counts() -> None:
    assert make_plan(config("random"), 60).keep_last
    assert not make_plan(config("true"), 60).keep_last


@pytest.mark.parametrize(
    ("labels", "explained", "present"),
    [
        ([[1, 1, 0], [0, 1, 1], [0, 0, 1], [np.nan, 0, 0], [0, 1, np.nan]], [1, 1, 2, 0, 1], [1, 1, 1, 0, 1]),
        ([[1], [0], [np.nan]], [1, 1, 1], [1, 0, 0]),
    ],
)
def test_of_several_findings_the_most_frequent_that_is_there_is_explained(
    data: Prepared, labels: list, explained: list[int], present: list[int]
) -> None:
    classes = ("a", "b", "c")[: len(labels[0])]
    found = dataclasses.replace(
        data, kind="multilabel", classes=classes, positive=None, labels=np.array(labels, np.float32)
    )
    rows = np.arange(len(labels))
    targets = maps.explained(found, rows)
    assert targets.tolist() == explained
    assert maps.present(found, rows, targets).tolist() == [bool(value) for value in present]


def test_the_positive_class_is_explained_else_the_images_own(data: Prepared) -> None:
    rows = np.array([5, 0, 9])
    assert maps.explained(data, rows).tolist() == [data.positive] * 3
    assert (maps.present(data, rows, maps.explained(data, rows)) == (data.labels[rows] == data.positive)).all()
    own = maps.explained(dataclasses.replace(data, positive=None), rows)
    assert own.tolist() == data.labels[rows].tolist()
    assert maps.present(data, rows, own).all()


def test_a_single_finding_is_explained_upright(data: Prepared) -> None:
    """Its Grad-CAM lies where the logit's gradient is positive: that of class 1, not of the negated logit."""
    single = dataclasses.replace(
        data, kind="multilabel", classes=("a",), positive=None, labels=data.labels[:, None].astype(np.float32)
    )
    parts = make_parts(config("true"), single)
    net = {name: getattr(parts.state, name) for name in ("params", "batch_stats", "constants")}
    rows = np.arange(3)
    drawn = maps.draw(parts.model, parts.task, net, single, rows, maps.explained(single, rows), None, "grad_cam")
    images = parts.task.inputs(net, single.images[rows])
    upright = grad_cam(parts.model, {name: net[name] for name in ("params", "batch_stats")}, images, np.ones(3, int))
    np.testing.assert_allclose(drawn, upright, rtol=1e-5)
    asked = scoring.Asked(parts.model, parts.task, net, single, rows, maps.explained(single, rows))
    chance = parts.task.predict(parts.model, net, {"image": single.images[rows]})[:, 0]
    np.testing.assert_allclose(scoring._predict(asked, int(asked.targets[0]), np.asarray(images)), chance, rtol=1e-5)
