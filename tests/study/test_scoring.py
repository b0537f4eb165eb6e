"""The scores of a network with random weights, against the measures asked image by image; agreement of planted maps."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from attn_jax.data.prepare import prepare
from attn_jax.errors import UserError
from attn_jax.explain import cam
from attn_jax.explain.faithfulness import deletion
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.localise import energy_in_mask, pointing
from attn_jax.explain.methods import METHODS, saliency
from attn_jax.explain.similarity import spearman, ssim
from attn_jax.explain.trust import repeatability, reproducibility
from attn_jax.study import saliency as saliency_files
from attn_jax.study import scoring
from attn_jax.study.agreement import agreement
from attn_jax.study.alike import alike, ready
from attn_jax.study.build import make_parts
from attn_jax.study.cell import Cell
from attn_jax.study.defaults import default_config
from attn_jax.study.scoring import Asked, Scored, chosen, scores

LAYER = "stage3_block2"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """An untrained network asked about all images of a small data set, for the class that each has."""
    made = default_config()
    made.data.update(dict(source="phantom", image_size=16, channels=1, phantom=dict(images=60)))
    made.model.update(dict(width=0.125, stem="small"))
    data = prepare(made.data, pathlib.Path(tmp_path_factory.mktemp("cache")))
    parts = make_parts(made, data)
    variables = {name: getattr(parts.state, name) for name in ("params", "batch_stats", "constants")}
    return Asked(parts.model, parts.task, variables, data, np.arange(60), data.labels, LAYER)


@pytest.fixture(scope="module")
def scored(asked: Asked) -> Scored:
    return scores(asked, ("grad_cam", "input_gradient", "not_for_this_network"), 4)


@pytest.fixture(scope="module", autouse=True)
def refusing() -> Iterator[None]:
    """A method that has no map of this network beside those that have one."""

    def refuse(model: object, variables: object, images: object, targets: object) -> None:
        raise UserError("the network has no such map")

    with mock.patch.dict(METHODS, not_for_this_network=refuse):
        yield


@pytest.fixture(scope="module")
def table(scored: Scored) -> pd.DataFrame:
    return scored.table


def values(table: pd.DataFrame, method: str, metric: str) -> pd.Series:
    part = table[(table["method"] == method) & (table["metric"] == metric)]
    assert not part["image_id"].duplicated().any()
    return part.set_index("image_id")["value"]


def look(asked: Asked, row: int, method: str) -> tuple[np.ndarray, jax.Array]:
    """One image's raw map, and the image as the network takes it."""
    image = asked.task.inputs(asked.variables, jnp.asarray(asked.data.images[row : row + 1]))
    net = {name: asked.variables[name] for name in ("params", "batch_stats")}
    options = {"layer": LAYER} if method == "grad_cam" else {}
    return np.asarray(saliency(asked.model, net, image, asked.targets[row : row + 1], method, **options)), image


def test_maps_are_placed_on_every_image_with_a_mask(asked: Asked, table: pd.DataFrame) -> None:
    data = asked.data
    assert data.masks is not None
    masked = set(data.image_ids[data.has_mask])
    for method in ("grad_cam", "input_gradient", "centre", "edges", "random", "segmentation"):
        assert set(values(table, method, "energy").index) == masked
    assert (values(table, "segmentation", "hit") == 1).all()
    for method in ("grad_cam", "input_gradient"):
        energy, hit = values(table, method, "energy"), values(table, method, "hit")
        for row in np.flatnonzero(data.has_mask)[:3]:
            raw, _ = look(asked, row, method)
            drawn = np.asarray(to_image(raw, (16, 16)))
            mask = data.masks[row : row + 1]
            assert energy[data.image_ids[row]] == pytest.approx(energy_in_mask(drawn, mask)[0], rel=1e-3, nan_ok=True)
            assert hit[data.image_ids[row]] == pytest.approx(pointing(drawn, mask)[0], nan_ok=True)


def test_faithfulness_is_a_gain_over_a_random_order_for_the_target(asked: Asked, table: pd.DataFrame) -> None:
    found = {name: values(table, "grad_cam", name) for name in ("deletion", "deletion_gain", "insertion_gain")}
    assert len(found["deletion"]) == 4
    random = {name: values(table, "random", name) for name in ("insertion", "deletion")}
    insertion = values(table, "grad_cam", "insertion") - random["insertion"]
    pd.testing.assert_series_equal(found["insertion_gain"], insertion, check_names=False)
    pd.testing.assert_series_equal(found["deletion_gain"], random["deletion"] - found["deletion"], check_names=False)
    assert (values(table, "random", "deletion_gain") == 0).all()
    net = {name: asked.variables[name] for name in ("params", "batch_stats")}
    probabilities = jax.jit(lambda x: jax.nn.softmax(asked.model.apply(net, x, train=False)))
    for image_id in found["deletion"].index:
        (row,) = np.flatnonzero(asked.data.image_ids == image_id)
        raw, image = look(asked, row, "grad_cam")
        predict = functools.partial(lambda target, x: probabilities(x)[:, target], asked.targets[row])
        one = deletion(predict, np.asarray(image), np.asarray(to_image(raw, (16, 16))), batch=17)
        assert found["deletion"][image_id] == pytest.approx(one.auc[0], abs=1e-5, nan_ok=True)


def test_a_method_without_a_map_of_the_network_is_named_with_its_reason(scored: Scored) -> None:
    assert scored.missing == {"not_for_this_network": "the network has no such map"}
    assert list(scored.looks) == ["grad_cam", "input_gradient"]


def test_looks_are_the_maps_of_the_changed_images(asked: Asked, scored: Scored) -> None:
    ids = asked.data.image_ids[scored.few]
    assert set(ids) == set(values(scored.table, "grad_cam", "deletion").index)
    for method in ("grad_cam", "input_gradient"):
        raw, _ = look(asked, scored.few[1], method)
        np.testing.assert_allclose(scored.looks[method][1], raw[0], rtol=1e-3, atol=1e-7)


def test_only_images_with_the_explained_class_are_changed(asked: Asked) -> None:
    for target in (0, 1):
        of_one = dataclasses.replace(asked, targets=np.full(60, target))
        assert (asked.data.labels[of_one.chosen(100)] == target).all()
    assert len(asked.chosen(100)) == 60


def test_constant_maps_are_counted(asked: Asked) -> None:
    drawn = np.random.default_rng(0).random((60, 4, 4))
    drawn[::3] = 2.5
    with mock.patch.object(scoring, "_randomised", return_value={"x": np.zeros(4)}):
        table = scores(dataclasses.replace(asked, drawn={"grad_cam": drawn}), ("grad_cam",), 4).table
    constant = values(table, "grad_cam", "constant")
    flat = dict(zip(asked.data.image_ids, np.arange(60) % 3 == 0, strict=True))
    assert dict(constant) == {image_id: float(flat[image_id]) for image_id in constant.index}
    assert 0 < constant.mean() < 1


def test_weights_are_randomised_from_the_top_down(asked: Asked, table: pd.DataFrame) -> None:
    names = table.loc[table["method"] == "grad_cam", "metric"].drop_duplicates()
    layers = [name.partition("/")[2] for name in names if name.startswith("randomised_ssim/")]
    layers.remove("repaired")
    assert sorted(layers) == sorted(asked.variables["params"])
    assert layers[0] == "head" and layers[1] == "stage4_block2" and "stem" in layers[-1]
    alike = [values(table, "input_gradient", f"randomised_spearman/{layer}").mean() for layer in layers]
    assert 0.99 > alike[0] > alike[-1]
    assert values(table, "input_gradient", "randomised_spearman/repaired").between(-1, 1).all()


def test_randomised_networks_share_one_program(asked: Asked) -> None:
    # As training leaves them: on every device, where permuted ones are not.
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    variables = jax.device_put(dict(asked.variables), NamedSharding(mesh, PartitionSpec()))
    placed, few = dataclasses.replace(asked, variables=variables), np.arange(2)
    raw = placed.maps_with(variables, "grad_cam", few)
    programs = cam._cam._cache_size()
    assert scoring._randomised(placed, "grad_cam", few, raw)
    assert cam._cam._cache_size() <= programs + 1


def test_the_chosen_images_are_the_same_in_any_company() -> None:
    ids = np.array([f"image{n}" for n in range(40)])
    few = set(ids[chosen(ids, 6)])
    shuffled = np.random.default_rng(0).permutation(ids)
    assert set(shuffled[chosen(shuffled, 6)]) == few
    assert few <= set(ids[chosen(ids, 9)])
    part = np.array([i for i in ids if i in few or i[-1] in "13"])
    assert set(part[chosen(part, 6)]) == few
    assert len(chosen(ids[:3], 6)) == 3


def test_a_ready_map_is_compared_as_explain_does() -> None:
    rng = np.random.default_rng(1)
    raw = [rng.random((6, 5, 5)).astype(np.float32), rng.integers(0, 3, (6, 5, 5)).astype(np.float32)]
    raw[1][2] = 4.0
    # One by one: resizing a batch rounds otherwise, which breaks ties.
    drawn = [np.concatenate([to_image(one[None], (14, 11)) for one in maps]) for maps in raw]
    found = np.array([alike(ready(a, (14, 11)), ready(b, (14, 11))) for a, b in zip(*raw, strict=True)])
    expected = np.stack([ssim(*drawn), spearman(*drawn)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.isnan(found).all(axis=1).tolist() == [False, False, True, False, False, False]
    assert np.isnan(alike(ready(raw[0][0], (6, 6)), ready(raw[0][1], (6, 6)))[0]), "too small for SSIM's windows"


def planted(
    folder: pathlib.Path, seed: int, model: str, maps: np.ndarray, labels: str = "true", target: int = 0
) -> Cell:
    """A finished cell that left these maps of the images `i0`, `i1`, ..."""
    made = ConfigDict(default_config().to_dict())
    made.data.image_size, made.model.name, made.seed, made.data.labels = 14, model, seed, labels
    place = folder / f"{model}-{seed}-{labels}"
    place.mkdir()
    named = {"image_id": np.array([f"i{n}" for n in range(len(maps))]), "target": np.full(len(maps), target)}
    np.savez(place / "saliency_maps.npz", map_grad_cam=maps, **named)
    return Cell({"seed": seed, "model": model, "attention": "se", "labels": labels}, made, place.name, place)


def patients(cells: list[Cell]) -> dict[str, pd.DataFrame]:
    """What `agreement` needs of the scores: two images a patient."""
    table = pd.DataFrame({"image_id": [f"i{n}" for n in range(20)], "group": [f"p{n // 2}" for n in range(20)]})
    return {cell.key: table for cell in cells}


RUNS = [*(("resnet18", s, "true") for s in (0, 1, 2)), ("vgg16_bn", 0, "true"), ("resnet18", 0, "random")]
KINDS = ("repeatability", "reproducibility", "random_labels")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Cell], dict[tuple[str, int, str], np.ndarray]]:
    """Finished cells and the maps they left."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("cells")
    maps = {run: rng.random((8, 7, 7)).astype(np.float16).astype(np.float32) for run in RUNS}
    return [planted(folder, seed, model, of, labels) for (model, seed, labels), of in maps.items()], maps


def test_agreement_is_that_of_the_stored_maps(stored: tuple[list[Cell], dict]) -> None:
    cells, maps = stored
    found = agreement(cells, patients(cells))
    drawn = {run: np.asarray(to_image(of, (14, 14))) for run, of in maps.items()}
    arm, other, random = np.stack([drawn[r] for r in RUNS[:3]]), drawn[RUNS[3]][None], drawn[RUNS[4]][None]
    of = {kind: set(found.loc[found["metric"].str.startswith(kind), "key"]) for kind in KINDS}
    names = [cell.key for cell in cells]
    assert of == {
        "repeatability": set(names[:3]),
        "reproducibility": set(names[:4]),
        "random_labels": {*names[:3], names[4]},
    }
    for name, measure in (("ssim", ssim), ("spearman", spearman)):
        expected = {
            "repeatability": repeatability(arm, measure),
            "reproducibility": reproducibility([arm, other], measure),
            "random_labels": reproducibility([arm, random], measure),
        }
        for kind, alike_maps in expected.items():
            for key in of[kind]:
                part = found[(found["key"] == key) & (found["metric"] == f"{kind}_{name}")]
                np.testing.assert_allclose(part["value"], alike_maps.same, rtol=1e-5, atol=1e-7)
                assert list(part["image_id"]) == [f"i{n}" for n in range(8)]
                assert list(part["group"]) == [f"p{n // 2}" for n in range(8)]


def test_other_images_are_all_paired_once(tmp_path: pathlib.Path) -> None:
    """Image n's map is a spike at n, shared by both runs: maps of different images are alike in one known way."""
    maps = np.eye(9, dtype=np.float32).reshape(9, 3, 3)
    cells = [planted(tmp_path, seed, "resnet18", maps) for seed in (0, 1)]
    found = agreement(cells, patients(cells))
    part = found[found["key"] == cells[0].key].set_index("metric")["value"]
    np.testing.assert_allclose(part["repeatability_spearman"], 1)
    drawn = np.asarray(to_image(maps, (14, 14)))
    possible = [[spearman(drawn[i : i + 1], drawn[j : j + 1])[0] for j in range(9) if j != i] for i in range(9)]
    for value, some in zip(part["repeatability_spearman/repaired"], possible, strict=True):
        assert np.isclose(value, some).any()


def test_agreement_is_computed_once(stored: tuple[list[Cell], dict]) -> None:
    cells, _ = stored
    first = agreement(cells, patients(cells))
    with mock.patch("attn_jax.study.agreement.alike", side_effect=AssertionError("computed anew")):
        again = agreement(cells, patients(cells))
    pd.testing.assert_frame_equal(first, again)
    when = (cells[0].folder / "saliency_maps.npz").stat()
    os.utime(cells[0].folder / "saliency_maps.npz", ns=(when.st_atime_ns, when.st_mtime_ns + 1))
    with mock.patch("attn_jax.study.agreement.alike", side_effect=AssertionError("computed anew")):
        with pytest.raises(AssertionError, match="computed anew"):
            agreement(cells, patients(cells))


def test_maps_for_different_classes_are_not_compared(tmp_path: pathlib.Path) -> None:
    maps = np.random.default_rng(0).random((8, 7, 7))
    cells = [planted(tmp_path, seed, "resnet18", maps, target=seed) for seed in (0, 1)]
    assert agreement(cells, patients(cells))["value"].isna().all()


def test_one_run_agrees_with_nothing(tmp_path: pathlib.Path) -> None:
    cells = [planted(tmp_path, seed, "resnet18", np.zeros((2, 7, 7))) for seed in (0, 1)]
    for _ in range(2):
        assert agreement(cells[:1], patients(cells)).empty
    assert agreement(cells, patients(cells[:1])).empty, "one is scored"
    assert agreement([], {}).empty


@pytest.mark.parametrize("error", [ValueError("out of\nmemory"), UserError("no layer"), KeyError("x"), TypeError("x")])
def test_what_goes_wrong_is_written_down_and_mistakes_of_the_program_are_raised(
    tmp_path: pathlib.Path, asked: Asked, error: Exception
) -> None:
    cell = planted(tmp_path, 0, "resnet18", np.zeros((2, 7, 7)))
    (cell.folder / "result.json").write_text("{}")
    with mock.patch.object(saliency_files, "_asked", side_effect=error):
        if isinstance(error, KeyError | TypeError):
            with pytest.raises(type(error)):
                saliency_files.score(cell, asked.data)
            return
        saliency_files.score(cell, asked.data)
    first = str(error).splitlines()[0]
    assert saliency_files.unscored(cell) == {"": f"{type(error).__name__}: {first}"}
    few = Scored(pd.DataFrame({"value": [1.0]}), np.array([3, 5]), {"rise": np.ones((2, 3, 3))}, {"attention": "none"})
    with (
        mock.patch.object(saliency_files, "_asked", return_value=asked),
        mock.patch.object(saliency_files, "scores", return_value=few),
    ):
        saliency_files.score(cell, asked.data)
    assert saliency_files.unscored(cell) == {"attention": "none"}
    assert not (cell.folder / "saliency_failure.json").exists()
    with np.load(cell.folder / "saliency_maps.npz") as stored:
        assert stored["image_id"].tolist() == asked.data.image_ids[[3, 5]].tolist()
        assert (stored["map_rise"] == 0).all() and stored["target"].tolist() == asked.targets[[3, 5]].tolist()
    read = saliency_files.read(cell)
    assert read is not None and len(read) == 1
