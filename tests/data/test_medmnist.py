"""MedMNIST files in miniature, written as the published ones are."""

import gc

import numpy as np
import pytest

from attn_jax.data import sources
from attn_jax.data.sources import medmnist
from attn_jax.errors import UserError


def write(path, shape, labels, save=np.savez_compressed):
    """A file whose image number n of a split has the value 10 n + (1, 2, 3 in train, val, test)."""
    arrays = {}
    for at, split in enumerate(("train", "val", "test")):
        values = 10 * np.arange(len(labels)) + at + 1
        images = np.broadcast_to(values.reshape(-1, *[1] * len(shape)), (len(labels), *shape))
        arrays[f"{split}_images"] = images.astype(np.uint8)
        arrays[f"{split}_labels"] = np.asarray(labels, np.uint8)
    save(path, **arrays)
    return path


def load(path, **options):
    return sources.load({"source": "medmnist", "path": str(path), **options})


@pytest.mark.parametrize("name", ["pathmnist.npz", "pathmnist_64.npz", "pathmnist_224.npz"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_color_set_with_official_splits(tmp_path, name, save):
    dataset = load(write(tmp_path / name, (8, 8, 3), [[0], [8], [3]], save))
    assert dataset.name == "pathmnist" and len(dataset.classes) == 9 and dataset.classes[4] == "mucus"
    assert [record.image_id for record in dataset.records[2:5]] == ["train/000002", "val/000000", "val/000001"]
    assert [record.label for record in dataset.records] == [0, 8, 3] * 3
    assert [record.split for record in dataset.records] == ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    assert dataset.records[5].read().tolist() == np.full((8, 8, 3), 22).tolist()


def test_multilabel_ordinal_and_unknown_sets(tmp_path):
    labels = np.eye(14, dtype=int)[:3]
    chest = load(write(tmp_path / "chestmnist.npz", (8, 8), labels))
    assert chest.kind == "multilabel" and chest.classes[13] == "hernia" and chest.records[1].label == tuple(labels[1])
    assert chest.records[0].read().shape == (8, 8, 1)
    assert load(write(tmp_path / "retinamnist_128.npz", (8, 8, 3), [[4], [0]])).ordinal
    other = load(write(tmp_path / "mymnist.npz", (8, 8), [0, 2]))
    assert other.classes == ("class 0", "class 1", "class 2") and not other.ordinal and other.records[1].label == 2


def test_3d_sets_as_volumes_and_as_slices(tmp_path):
    path = write(tmp_path / "organmnist3d.npz", (4, 5, 6), [[0], [10]])
    volumes = load(path, volume=True)
    assert len(volumes.records) == 6 and volumes.records[1].read().tolist() == np.full((4, 5, 6, 1), 11).tolist()
    slices = load(path)
    assert len(slices.records) == 24 and slices.records[5].read().shape == (5, 6, 1)
    assert slices.records[5].image_id == "train/000001#001" and slices.records[5].group == "train/000001"


def test_every_published_set_is_known():
    counts = {name: len(classes) for name, classes in medmnist.CLASSES.items()}
    assert counts == {
        "pathmnist": 9, "chestmnist": 14, "dermamnist": 7, "octmnist": 4, "pneumoniamnist": 2, "retinamnist": 5,
        "breastmnist": 2, "bloodmnist": 8, "tissuemnist": 8, "organamnist": 11, "organcmnist": 11, "organsmnist": 11,
        "organmnist3d": 11, "nodulemnist3d": 2, "adrenalmnist3d": 2, "fracturemnist3d": 3, "vesselmnist3d": 2,
        "synapsemnist3d": 2,
    }  # fmt: skip


def test_a_large_array_goes_through_a_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr(medmnist, "_IN_MEMORY", 10)
    monkeypatch.setattr(medmnist.tempfile, "tempdir", str(tmp_path))
    dataset = load(write(tmp_path / "breastmnist.npz", (8, 8), [[0], [1]]))
    assert dataset.records[3].read().max() == 12 and dataset.records[1].read().max() == 11
    assert len(list(tmp_path.glob("attn_jax-medmnist-*/*.npy"))) == 2
    del dataset
    gc.collect()
    assert not list(tmp_path.glob("attn_jax-medmnist-*"))


def test_wrong_files(tmp_path):
    (tmp_path / "pathmnist.npz").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="is not a MedMNIST file"):
        load(tmp_path)
    np.savez(tmp_path / "pathmnist.npz", train_images=np.zeros((1, 2, 2)))
    with pytest.raises(UserError, match="is not a MedMNIST file"):
        load(tmp_path / "pathmnist.npz")
    write(tmp_path / "breastmnist.npz", (8, 8), [[0], [2]])
    with pytest.raises(UserError, match="beyond the 2 classes"):
        load(tmp_path / "breastmnist.npz")
    with pytest.raises(UserError, match="breastmnist.npz, pathmnist.npz; name one"):
        load(tmp_path)
