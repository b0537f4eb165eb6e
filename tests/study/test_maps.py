"""How much of the maps lies in the lesion and on the tag, on phantoms where both are known."""

import pathlib

import numpy as np
import pytest

from attn_jax.data.phantom import tag_mask
from attn_jax.data.prepare import Prepared, prepare
from attn_jax.study.defaults import default_config
from attn_jax.study.maps import places


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    options = default_config().data
    options.update(dict(source="phantom", image_size=32, channels=1, phantom=dict(images=60, shortcut=1.0)))
    return prepare(options, pathlib.Path(tmp_path_factory.mktemp("cache")))


def test_a_map_of_the_tag_lies_on_it_and_one_of_the_lesion_in_it(data: Prepared) -> None:
    rows = data.rows("test")
    tag = np.broadcast_to(tag_mask(32).astype(np.float32), (len(rows), 32, 32))
    found = places(data, rows, tag)
    assert found["tag"]["energy"] == pytest.approx(1) and found["tag_absent"]["energy"] == pytest.approx(1)
    assert found["tag"]["images"] + found["tag_absent"]["images"] == len(rows)
    assert found["tag"]["area"] == pytest.approx(tag_mask(32).mean())
    assert data.masks is not None
    lesion = places(data, rows, data.masks[rows].astype(np.float32))["lesion"]
    assert lesion["energy"] == pytest.approx(1) and lesion["images"] == data.has_mask[rows].sum()


def test_an_even_map_has_the_areas_share(data: Prepared) -> None:
    rows = data.rows("test")
    ramp = np.ones((len(rows), 4, 4), np.float32)
    ramp[:, 0, 0] = 0  # a constant map is nowhere; this one leaves out one corner
    found = places(data, rows, ramp)["tag"]
    assert found["energy"] == pytest.approx(found["area"] * 16 / 15, rel=0.2)


def test_without_tags_there_is_no_such_place(tmp_path: pathlib.Path) -> None:
    options = default_config().data
    options.update(dict(source="phantom", image_size=32, channels=1, phantom=dict(images=60, shortcut=0.0)))
    plain = prepare(options, tmp_path)
    assert set(places(plain, plain.rows("test"), np.ones((len(plain.rows("test")), 4, 4)) * np.eye(4))) == {"lesion"}
