"""The grid expands to the product, in running order, and names what it does not know."""

import itertools
import pathlib
import types

import pytest

from attn_jax.errors import UserError
from attn_jax.study import grid
from attn_jax.study.cell import make_cell
from attn_jax.study.defaults import default_config


def config(**axes):
    made = default_config()
    made.datasets.a = {"path": "/a", "positive": "x"}
    made.datasets.b = {"path": "/b", "phantom": {"seed": 7}}
    made.grid.attention, made.grid.seed = (), ()
    for name, values in axes.items():
        made.grid[name] = values
    return made


def test_the_product_with_seeds_outside() -> None:
    points = grid.expand(config(attention=("none", "se"), seed=(0, 1), dataset=("a", "b")))
    expected = [
        {"dataset": d, "seed": s, "attention": a} for d, s, a in itertools.product(("a", "b"), (0, 1), ("none", "se"))
    ]
    assert points == expected


def test_an_empty_grid_is_one_cell() -> None:
    assert grid.expand(config()) == [{}]


def test_commas_of_the_command_line_are_several_values() -> None:
    assert [p["attention"] for p in grid.expand(config(attention=("none,se", "gc")))] == ["none", "se", "gc"]
    assert [p["seed"] for p in grid.expand(config(seed=("3,4",)))] == [3, 4]


def test_values_reach_their_fields() -> None:
    made = config(attention=("se",), fold=(2,), stages=((3, 4),), learning_rate=(0.5,), dataset=("b",))
    resolved = grid.resolve(made, grid.expand(made)[0])
    assert resolved.model.attention == "se"
    assert resolved.data.split.fold == 2
    assert resolved.model.stages == (3, 4)
    assert resolved.optim.learning_rate == 0.5
    assert (resolved.data.name, resolved.data.path, resolved.data.phantom.seed) == ("b", "/b", 7)
    assert resolved.data.phantom.images == made.data.phantom.images


def test_a_shuffled_mechanism_has_a_folder_and_a_key_of_its_own() -> None:
    made = config(attention=("se", "shuffled:se", "shuffled:attn_jax.attention.se:SE"), dataset=("a",))
    data = types.SimpleNamespace(digest="0", classes=("x", "y"), positive="x", ordinal=False)
    cells = [make_cell(pathlib.Path(), point, grid.resolve(made, point), data) for point in grid.expand(made)]
    assert [cell.slug for cell in cells] == ["a-se", "a-shuffled_se", "a-shuffled_SE"]
    assert len({cell.key for cell in cells}) == 3


def test_an_external_test_brings_its_training_along() -> None:
    points = grid.expand(config(dataset=("a",), tested_on=("b",), attention=("se",)))
    assert points == [{"dataset": "a", "attention": "se"}, {"dataset": "a", "attention": "se", "tested_on": "b"}]
    both = grid.expand(config(dataset=("a", "b"), tested_on=("a", "b")))
    assert [(p["dataset"], p.get("tested_on", "")) for p in both] == [("a", ""), ("a", "b"), ("b", ""), ("b", "a")]


def test_only_keeps_a_subset_and_the_trainings_it_needs() -> None:
    made = config(dataset=("a",), tested_on=("b",), attention=("none", "se", "gc"), seed=(0, 1))
    made.only = "attention=se|gc,seed=1"
    assert len(grid.expand(made)) == 4
    made.only = "attention=se,seed=1,tested_on=b"
    assert [p.get("tested_on") for p in grid.expand(made)] == [None, "b"]


@pytest.mark.parametrize(
    ("axes", "only", "words"),
    [
        (dict(attention=("see",)), "", "'se'"),
        (dict(dataset=("c",)), "", "'c' is unknown"),
        (dict(seed=("one",)), "", "config.grid.seed"),
        (dict(seed=(0.5,)), "", "config.grid.seed"),
        (dict(model=("resnet19",)), "", "resnet18"),
        (dict(seed=(0,)), "seed=3", "seed='3' is not in the grid"),
        (dict(seed=(0,)), "fold=3", "not varied"),
        (dict(seed=(0,)), "seed", "axis=value"),
    ],
)
def test_mistakes_are_named(axes: dict, only: str, words: str) -> None:
    made = config(**axes)
    made.only = only
    with pytest.raises(UserError, match=words):
        grid.expand(made)
