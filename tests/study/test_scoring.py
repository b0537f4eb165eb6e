"""The scores of a network with random weights, against the measures asked image by image; agreement of planted maps."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from ml_collections import ConfigDict

from attn_jax.data.prepare import prepare
from attn_jax.explain.faithfulness import deletion
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.localise import energy_in_mask, pointing
from attn_jax.explain.methods import saliency
from attn_jax.explain.similarity import spearman, ssim
from attn_jax.explain.trust import repeatability, reproducibility
from attn_jax.study.agreement import agreement
from attn_jax.study.build import make_parts
from attn_jax.study.cell import Cell
from attn_jax.study.defaults import default_config
from attn_jax.study.scoring import Asked, chosen, scores

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
def table(asked: Asked) -> pd.DataFrame:
    return scores(asked, ("grad_cam", "input_gradient"), 4)


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


def test_faithfulness_asks_for_the_probability_of_the_target(asked: Asked, table: pd.DataFrame) -> None:
    found = values(table, "grad_cam", "deletion")
    assert len(found) == 4
    net = {name: asked.variables[name] for name in ("params", "batch_stats")}
    probabilities = jax.jit(lambda x: jax.nn.softmax(asked.model.apply(net, x, train=False)))
    for image_id in found.index:
        (row,) = np.flatnonzero(asked.data.image_ids == image_id)
        raw, image = look(asked, row, "grad_cam")
        predict = functools.partial(lambda target, x: probabilities(x)[:, target], asked.targets[row])
        one = deletion(predict, np.asarray(image), np.asarray(to_image(raw, (16, 16))), steps=16, batch=17)
        assert found[image_id] == pytest.approx(one.auc[0], abs=1e-5, nan_ok=True)


def test_weights_are_randomised_from_the_top_down(asked: Asked, table: pd.DataFrame) -> None:
    names = table.loc[table["method"] == "grad_cam", "metric"].drop_duplicates()
    layers = [name.partition("/")[2] for name in names if name.startswith("randomised_ssim/")]
    layers.remove("repaired")
    assert sorted(layers) == sorted(asked.variables["params"])
    assert layers[0] == "head" and layers[1] == "stage4_block2" and "stem" in layers[-1]
    alike = [values(table, "input_gradient", f"randomised_spearman/{layer}").mean() for layer in layers]
    assert 0.99 > alike[0] > alike[-1]
    assert values(table, "input_gradient", "randomised_spearman/repaired").between(-1, 1).all()


def test_the_chosen_images_are_the_same_in_any_company() -> None:
    ids = np.array([f"image{n}" for n in range(40)])
    few = set(ids[chosen(ids, 6)])
    shuffled = np.random.default_rng(0).permutation(ids)
    assert set(shuffled[chosen(shuffled, 6)]) == few
    assert few <= set(ids[chosen(ids, 9)])
    part = np.array([i for i in ids if i in few or i[-1] in "13"])
    assert set(part[chosen(part, 6)]) == few
    assert len(chosen(ids[:3], 6)) == 3


def planted(folder: pathlib.Path, seed: int, model: str, maps: np.ndarray, ids: np.ndarray) -> Cell:
    """A finished cell that left these maps."""
    made = ConfigDict(default_config().to_dict())
    made.data.image_size, made.model.name, made.seed = 14, model, seed
    place = folder / f"{model}-{seed}"
    place.mkdir()
    np.savez(place / "maps.npz", image_id=ids, target=np.zeros(len(ids)), map=maps)
    return Cell({"seed": seed, "model": model, "attention": "se"}, made, f"{model}{seed}", place)


def test_agreement_is_that_of_the_stored_maps_of_the_scored_images(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    ids = np.array([f"i{n}" for n in range(20)])
    maps = {(m, s): rng.random((20, 7, 7)).astype(np.float32) for m in ("resnet18", "vgg16_bn") for s in (0, 1, 2)}
    maps = {key: of for key, of in maps.items() if key != ("vgg16_bn", 2)}
    cells = [planted(tmp_path, seed, model, of, ids) for (model, seed), of in maps.items()]
    stored = pd.DataFrame({"image_id": ids, "group": [f"p{n // 2}" for n in range(20)]})
    found = agreement(cells, {cell.key: stored for cell in cells})
    drawn = {key: np.asarray(to_image(of[chosen(ids, 16)], (14, 14))) for key, of in maps.items()}
    networks = [np.stack([of for (m, _), of in drawn.items() if m == model]) for model in ("resnet18", "vgg16_bn")]
    for name, measure in (("ssim", ssim), ("spearman", spearman)):
        expected = {
            "resnet18": repeatability(networks[0], measure),
            "vgg16_bn": repeatability(networks[1], measure),
            "": reproducibility(networks, measure),
        }
        for (model, seed), kind in [(key, kind) for key in maps for kind in ("repeatability", "reproducibility")]:
            of = found[found["key"] == f"{model}{seed}"]
            alike = expected[model if kind == "repeatability" else ""]
            for metric, wanted in ((f"{kind}_{name}", alike.same), (f"{kind}_{name}/repaired", alike.repaired)):
                part = of[of["metric"] == metric]
                np.testing.assert_allclose(part["value"], wanted)
                assert list(part["image_id"]) == list(ids[chosen(ids, 16)])
                assert list(part["group"]) == [f"p{int(i[1:]) // 2}" for i in part["image_id"]]


def test_one_run_agrees_with_nothing(tmp_path: pathlib.Path) -> None:
    ids = np.array(["a", "b"])
    cell = planted(tmp_path, 0, "resnet18", np.zeros((2, 7, 7)), ids)
    assert agreement([cell], {cell.key: pd.DataFrame({"image_id": ids, "group": ids})}).empty
    other = planted(tmp_path, 1, "resnet18", np.zeros((2, 7, 7)), ids)
    assert agreement([cell, other], {cell.key: pd.DataFrame({"image_id": ids, "group": ids})}).empty, "one is scored"
