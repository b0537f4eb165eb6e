"""Every wrong value of a config is named before any data are read."""

import pathlib
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from ml_collections import ConfigDict

from attn_jax.command_line import load_config
from attn_jax.errors import UserError
from attn_jax.study.cell import flat
from attn_jax.study.check import check
from attn_jax.study.defaults import default_config

ROOT = pathlib.Path(__file__).resolve().parents[2]


def config(**fields: Any) -> ConfigDict:
    """One cell on small simulated images; `section__field=value` changes a field."""
    made = default_config()
    made.grid.attention, made.grid.seed = (), ()
    made.data.image_size = 16
    with made.unlocked():
        for path, value in fields.items():
            put(made, path.replace("__", "."), value)
    return made


def put(section: ConfigDict, path: str, value: Any) -> None:
    *sections, field = path.split(".")
    for name in sections:
        section = section[name]
    with section.ignore_type():
        section[field] = value


def message(wrong: ConfigDict) -> str:
    with pytest.raises(UserError) as caught:
        check(wrong)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.py")), ids=lambda path: path.stem)
def test_our_own_configs_pass(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    made = load_config(str(path))
    made.grid.attention, made.grid.seed = ("none",), ()
    if made.optim.freeze:
        assert "would hold random weights for good; name a file in config.model.weights" in message(made)
        made.optim.freeze = ()
    check(made)


def test_no_number_may_be_negative_nor_nan() -> None:
    numbers = [path for path, value in flat(default_config()).items() if type(value) in (int, float)]
    assert len(numbers) > 40
    for path in numbers:
        for value in (-1, -1.0, np.nan):
            made = config()
            if type(value) is not type(flat(made)[path]):
                continue
            put(made, path, value)
            assert path.rpartition(".")[2] in message(made), path


@pytest.mark.parametrize(
    "path",
    [
        "baseline", "only", "data.source", "data.normalize", "data.phantom.modality", "task.class_weights",
        "task.sampling", "model.name", "model.attention", "model.placement", "model.stem", "model.weights",
        "model.dtype", "optim.name", "optim.schedule", "training.metric", "training.parallel", "explain.layer",
        "data.labels", "explain.methods",
    ],
)  # fmt: skip
def test_no_name_may_be_invented(path: str) -> None:
    made = config()
    put(made, path, "blook")
    line = message(made)
    assert "blook" in line and path.partition(".")[0] in line


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(training__epochs=0), "config.training.epochs=0 must be at least 1"),
        (dict(training__batch_size=32, training__accumulate=5), "training.batch_size=32"),
        (dict(optim__learning_rate=0.0), "config.optim.learning_rate=0.0 must be above 0"),
        (dict(optim__learning_rate=float("inf")), "learning_rate"),
        (dict(data__split__val=0.0), "data.split.val"),
        (dict(data__split__val=0.9, data__split__test=0.2), "leave nothing to train on"),
        (dict(data__split__folds=3, data__split__fold=3), "fold below their number"),
        (dict(data__split__fold=1), "fold=1"),
        (dict(data__path="/nope"), "config.data.path='/nope'"),
        (dict(data__path="/", data__source="phantom"), "config.data.source=folder"),
        (dict(data__volume=True), "simulated images are flat"),
        (dict(augment__rotate=400.0), "config.augment.rotate=400.0 must be a number from 0 to 180"),
        (dict(model__stages=(5,)), "5 is none of the network's stages"),
        (dict(model__attention="se", model__placement="conv"), "'block' or 'stage', not 'conv'"),
        (dict(model__attention="none", model__placement="conf"), "config.model.placement='conf' is unknown"),
        (dict(model__attention="nowhere:Gate"), "No module named 'nowhere'"),
        (dict(model__attention="se", model__attention_options=ConfigDict({"reduktion": 8})), "'reduction'"),
        (dict(model__attention="se", model__attention_options=ConfigDict({"reduction": "x"})), "reduction='x' is not"),
        (dict(optim__options=ConfigDict({"b3": 0.9})), "config.optim.options.b3"),
        (dict(optim__options=ConfigDict({"b1": "x"})), "config.optim: TypeError"),
        (dict(optim__freeze=("stage9",)), "config.optim.freeze"),
        (dict(explain__layer="stage4_block1/conf1"), "Did you mean 'stage4_block1/conv1'"),
        (dict(explain__layer="head"), "not a map over the image"),
        (dict(explain__methods=("gradcam",)), "config.explain.methods: 'gradcam' is unknown. Did you mean 'grad_cam'"),
        (dict(grid__atention=("se",)), "config.grid.atention is unknown. Did you mean 'attention'?"),
        (dict(grid__seed=3), "config.grid.seed=3 must be of type tuple"),
        (dict(training__epochs=1.0), "config.training.epochs=1.0 must be of type int"),
        (dict(training=ConfigDict({"epochs": 1})), "config.training lacks the field"),
        (dict(modl=1), "config.modl is unknown. Did you mean 'model'?"),
        (dict(datasets__a=5), "config.datasets.a=5 must be a dict"),
        (dict(datasets__a=ConfigDict({"pth": "x"})), "config.datasets.a.pth is unknown. Did you mean 'path'?"),
        (dict(datasets__a=ConfigDict({"split": {"seed": "x"}})), "config.datasets.a.split.seed='x'"),
        (dict(datasets__a=ConfigDict({"path": "/nope"}), grid__dataset=("a",)), "config.datasets.a.path='/nope'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(fields: dict[str, Any], words: str) -> None:
    assert words in message(config(**fields))


def test_the_cell_is_named_where_others_are_right() -> None:
    wrong = config(grid__learning_rate=(1e-3, 0.0), grid__seed=(0, 1))
    assert message(wrong).endswith("(in the cell seed=0, learning_rate=0.0)")
    assert "in the cell" not in message(config(grid__seed=(0, 1), optim__learning_rate=0.0))


def test_the_other_data_set_of_an_external_test_is_checked() -> None:
    sets = dict(datasets__a=ConfigDict({}), datasets__b=ConfigDict({"path": "/nope"}))
    assert "config.datasets.b.path" in message(config(**sets, grid__dataset=("a",), grid__tested_on=("b",)))


def test_weights_that_do_not_fit_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"no tensors")
    assert "not a safetensors file" in message(config(model__weights=str(path)))
    safetensors.numpy.save_file({"conv1.weight": np.zeros((64, 3, 5, 5), np.float32)}, path)
    assert "100 tensors do not fit the model" in message(config(model__weights=str(path)))
