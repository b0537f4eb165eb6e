"""A whole small study in this process: cells, page, Python interface, what is run again and what is not."""

import functools
import json
import pathlib
import shutil
from collections.abc import Iterator
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from attn_jax import models, study
from attn_jax.data.phantom import Settings, case, simulate
from attn_jax.errors import UserError
from attn_jax.study.defaults import default_config
from attn_jax.study.runner import Datasets, plan


def small_config() -> ConfigDict:
    config = default_config()
    config.data.update(
        dict(name="here", source="phantom", image_size=16, channels=1, phantom=dict(images=80, lesion_contrast=1.0))
    )
    config.datasets.here = {}
    config.datasets.there = {"phantom": {"seed": 9}}
    config.model.update(dict(width=0.125, stem="small"))
    config.training.update(dict(epochs=2, batch_size=16, eval_every=1))
    config.model.name = "two_blocks"
    config.explain.layer = "stage2_block1"
    config.grid.update(dict(dataset=("here",), tested_on=("there",), attention=("none", "se"), seed=(0,)))
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    folder = tmp_path_factory.mktemp("study")
    # A ResNet with two blocks instead of eight compiles in a quarter of the time.
    with mock.patch.dict(models.MODELS, two_blocks=functools.partial(models.ResNet, blocks=(1, 1), bottleneck=False)):
        assert study.run(small_config(), folder) == 0
        yield folder


def test_every_cell_leaves_its_files(workdir: pathlib.Path) -> None:
    folders = sorted(p.parent for p in workdir.glob("cells/*/result.json"))
    assert len(folders) == 4
    trained = [f for f in folders if "tested_on" not in f.name]
    assert len(trained) == 2
    for folder in trained:
        steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in steps if "val_loss" in line] == [1.0, 2.0]
        assert list((folder / "tensorboard").glob("events*"))
        assert not (folder / "checkpoints").exists()


def test_results_are_those_of_the_stored_predictions(workdir: pathlib.Path) -> None:
    for path in workdir.glob("cells/*/result.json"):
        table = pd.read_parquet(path.parent / "predictions.parquet")
        test = table[table["split"] == "test"]
        expected = roc_auc_score(test["label"] == "opacity", test["score_opacity"])
        assert json.loads(path.read_text())["evaluation"]["metrics"]["auc"] == pytest.approx(expected)


def test_an_external_test_shares_the_training_and_the_test_images(workdir: pathlib.Path) -> None:
    done = study.load(workdir)
    external = done.cells[done.cells["tested_on"] == "there"]
    assert len(external) == 2 and external["train_seconds"].isna().all()
    sets = [set(done.predictions(key).part("test").image_id) for key in external["key"]]
    assert sets[0] == sets[1]


def written(workdir: pathlib.Path) -> dict[str, int]:
    """When results and scores were written."""
    files = [
        p
        for name in ("result.json", "saliency.json", "saliency.parquet", "saliency_maps.npz")
        for p in workdir.glob(f"cells/*/{name}")
    ]
    return {str(p.relative_to(workdir)): p.stat().st_mtime_ns for p in files}


def test_a_second_call_runs_nothing(workdir: pathlib.Path) -> None:
    before = written(workdir)
    assert len(before) == 4 + 2 * 3  # a test on another data set is not scored
    config = small_config()
    config.training.log_every = 3
    config.report.pictures = False
    config.report.metric, config.report.margin = "accuracy", 0.31
    assert study.run(config, workdir) == 0
    assert written(workdir) == before
    page = (workdir / "report" / "report.html").read_text()
    assert "margin of equivalence 0.31" in page and "margin of equivalence 0.02" not in page


def test_the_page_marks_simulated_images_and_shows_both_tables(workdir: pathlib.Path) -> None:
    page = (workdir / "report" / "report.html").read_text()
    assert "Simulated" in page and "External validation" in page
    assert "in the lesion" in page


def keys(workdir: pathlib.Path, **changes: object) -> list[str]:
    config = small_config()
    config.grid.tested_on = ()
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return [cell.key for cell in plan(config, workdir, Datasets(workdir / "cache"))]


@pytest.mark.parametrize(
    "changes",
    [
        {"training.log_every": 77},
        {"training.parallel": "pmap"},
        {"training.checkpoint_seconds": 5.0},
        {"name": "x"},
        {"title": "y"},
        {"explain.layer": "stage1_block1"},
        {"explain.methods": ("grad_cam", "layer_cam")},
        {"explain.scored": 5},
        {"report.pictures": False},
        {"report.metric": "accuracy", "report.margin": 0.05},
        {"data.cache": "disk"},
    ],
)
def test_what_cannot_change_a_result_changes_no_key(changes: dict, workdir: pathlib.Path) -> None:
    assert keys(workdir, **changes) == keys(workdir)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1, "grid.seed": ()},
        {"optim.learning_rate": 5e-4},
        {"training.epochs": 3},
        {"model.width": 0.25},
        {"augment.flip_lr": False},
        {"data.normalize": "half"},
        {"data.split.val": 0.3},
        {"data.phantom.seed": 5},
        {"data.image_size": 24},
        {"data.positive": "clear"},
        {"data.labels": "random"},
    ],
)
def test_what_can_change_a_result_changes_every_key(changes: dict, workdir: pathlib.Path) -> None:
    assert not set(keys(workdir, **changes)) & set(keys(workdir))


def test_defaults_have_not_changed_under_old_keys() -> None:
    """Keys hold only what differs from the defaults: raise DEFAULTS_VERSION when one of these must change."""
    from attn_jax.study.cell import DEFAULTS_VERSION, flat

    golden = json.loads((pathlib.Path(__file__).parents[1] / "goldens" / "defaults.json").read_text())
    now = json.loads(json.dumps(flat(default_config())))
    assert golden["version"] == DEFAULTS_VERSION
    assert {path: now.get(path) for path in golden["fields"]} == golden["fields"]


def write_folder(folder: pathlib.Path, count: int) -> None:
    settings = Settings.from_options(small_config().data)
    for index in range(count):
        made = case(settings, index)
        image, _ = simulate(settings, made)
        path = folder / ("opacity" if made.positive else "clear") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)


def test_a_trained_cell_predicts_a_folder_and_exports_its_weights(
    workdir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The folder holds the images that the cell was trained on, written as files: the scores must be the same."""
    done = study.load(workdir)
    write_folder(tmp_path / "files", 80)
    found = done.predict("here-se-seed0", tmp_path / "files", source="folder")
    assert len(found) == 80
    known = done.predictions("here-se-seed0")
    stored = dict(zip(known.image_id, known.score[:, 1], strict=True))
    ours = {int(pathlib.Path(i).stem): s for i, s in zip(found.image_id, found.score[:, 1], strict=True)}
    for image_id, score in stored.items():
        assert ours[int(image_id.rsplit("/", 1)[-1])] == pytest.approx(score, abs=1e-5)
    weights = load_file(done.export("here-se-seed0", tmp_path / "weights.safetensors"))
    assert "layer1.0.conv1.weight" in weights and weights["fc.weight"].shape[0] == 2
    assert sum(v.size for k, v in weights.items() if "running" not in k and "num_batches" not in k) == int(
        done.cells.set_index("slug").loc["here-se-seed0", "parameters"]
    )


def test_other_classes_are_refused(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_folder(tmp_path / "files", 80)
    (tmp_path / "files" / "opacity").rename(tmp_path / "files" / "mass")
    with pytest.raises(UserError, match="mass"):
        study.load(workdir).predict("here-se-seed0", tmp_path / "files", source="folder")


def test_the_leaderboard_as_a_frame(workdir: pathlib.Path) -> None:
    done = study.load(workdir)
    board = done.leaderboard()
    own = board[board["tested_on"] == ""].set_index("attention")
    assert own.loc["se", "auc"] == pytest.approx(done.result("here-se-seed0").metrics["auc"])
    assert np.isnan(own.loc["se", "auc_sd"])


def test_mistakes_of_the_python_interface(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match="no study"):
        study.load(tmp_path)
    with pytest.raises(UserError, match="no cell is called"):
        study.load(workdir).predictions("here-cbam-seed0")
    with pytest.raises(UserError, match="cells are called"):
        study.load(workdir).predictions("here")


def test_another_layer_is_drawn_without_training(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    config = small_config()
    config.explain.layer = "stage1_block1"
    assert study.run(config, copy) == 0
    for path in copy.glob("cells/*/result.json"):
        before = json.loads((workdir / "cells" / path.parent.name / "result.json").read_text())
        after = json.loads(path.read_text())
        assert after["evaluation"] == before["evaluation"] and after["finished"] == before["finished"]
        assert np.load(path.parent / "maps.npz")["map"].shape[1:] == (16, 16)
        assert np.load(workdir / "cells" / path.parent.name / "maps.npz")["map"].shape[1:] == (8, 8)


def test_a_lost_result_is_made_again_alike(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (folder,) = copy.glob("cells/here-none-seed0-????????")
    before = json.loads((folder / "result.json").read_text())["evaluation"]
    shutil.rmtree(folder)
    assert study.run(small_config(), copy) == 0
    assert json.loads((folder / "result.json").read_text())["evaluation"] == before


def test_maps_are_scored_as_the_page_places_them(workdir: pathlib.Path) -> None:
    for path in workdir.glob("cells/*/saliency.json"):
        table = pd.read_parquet(path.parent / "saliency.parquet")
        path = path.with_name("result.json")
        lesion = json.loads(path.read_text())["saliency"]["lesion"]
        energy = table[(table["method"] == "grad_cam") & (table["metric"] == "energy")]["value"].dropna()
        assert (energy.mean(), len(energy)) == (pytest.approx(lesion["energy"]), lesion["images"])
        test = pd.read_parquet(path.parent / "predictions.parquet").query("split == 'test'")
        assert set(table["image_id"]) <= set(test["image_id"])
        assert (table["group"] == table["image_id"].map(test.set_index("image_id")["group"])).all()
    page = (workdir / "report" / "report.html").read_text()
    assert "Saliency scorecard: here" in page and "not scored" not in page


def test_lost_scores_are_made_again_without_training(
    workdir: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost table, and a cell whose network is gone."""
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    (lost,) = copy.glob("cells/here-none-seed0-????????")
    (gone,) = copy.glob("cells/here-se-seed0-????????")
    before = written(copy)
    for missing in (lost / "saliency.parquet", gone / "saliency.parquet", gone / "saliency.json"):
        missing.unlink()
    shutil.rmtree(gone / "variables")
    assert study.run(small_config(), copy) == 0
    made, kept = (pd.read_parquet(root / "cells" / lost.name / "saliency.parquet") for root in (copy, workdir))
    pd.testing.assert_frame_equal(made, kept)
    changed = {name for name, when in written(copy).items() if before[name] != when}
    assert {pathlib.Path(name).parts[1] for name in changed} == {lost.name}
    assert not [name for name in changed if name.endswith("result.json")]
    assert "here-se-seed0: not scored: UserError" in capsys.readouterr().err
    reason = json.loads((gone / "saliency_failure.json").read_text())["reason"]
    assert "holds no trained network" in reason and not (gone / "saliency.json").exists()
    assert "holds no trained network" in (copy / "report" / "report.html").read_text()
