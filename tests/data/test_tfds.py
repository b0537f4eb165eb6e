"""Sets written by our converter and by TFDS itself, read back; TensorFlow must stay out."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from attn_jax.data import convert, sources
from attn_jax.data.records import BadImage, Dataset, Record
from attn_jax.errors import UserError


def read(path, **options):
    return sources.load({"source": "tfds", "path": str(path), **options})


def constant(value):
    return lambda: value


GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
COLOR = np.stack([GREY, GREY + 1, GREY[::-1]], axis=-1)


def test_images_masks_groups_and_splits_come_back(tmp_path):
    mask = GREY > 20
    records = (
        Record("no/1.png", 0, constant(GREY), "p1", "train", None, {"sex": "f"}),
        Record("no/2.png", 0, constant(COLOR), "p2", "val"),
        Record("yes/1.png", 1, constant(GREY[..., None]), None, "test", constant(mask)),
        Record("yes/2.png", 1, constant(COLOR), "p1", "train"),
    )
    made = Dataset("My set-2", ("no", "yes"), "single", records, simulated=True, ordinal=True)
    folder = convert.convert(made, tmp_path)
    assert folder == tmp_path / "my_set_2" / "1.0.0"
    for path in (folder, tmp_path / "my_set_2", tmp_path):
        dataset = read(path)
        assert (dataset.name, dataset.classes, dataset.kind) == ("my_set_2", ("no", "yes"), "single")
        assert dataset.simulated and dataset.ordinal
    facts = [(r.image_id, r.label, r.group, r.split, dict(r.columns)) for r in dataset.records]
    assert facts == [(r.image_id, r.label, r.group, r.split, dict(r.columns)) for r in records]
    for record, image in zip(dataset.records, (GREY, COLOR, GREY, COLOR), strict=True):
        expected = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
        np.testing.assert_array_equal(record.read(), expected)
    np.testing.assert_array_equal(dataset.records[2].read_mask(), mask)
    assert [record.read_mask is None for record in dataset.records] == [True, True, False, True]


def test_depth_findings_and_volumes_come_back(tmp_path):
    wide = Record("a", (1.0, float("nan")), constant(COLOR.astype(np.uint16) * 1000))
    narrow = Record("b", (0.0, 1.0), constant(COLOR))
    convert.convert(Dataset("wide", ("x", "y"), "multilabel", (wide, narrow)), tmp_path / "1")
    dataset = read(tmp_path / "1")
    assert dataset.kind == "multilabel" and dataset.classes == ("x", "y")
    np.testing.assert_array_equal(dataset.records[0].label, (1, np.nan))
    np.testing.assert_array_equal(dataset.records[0].read(), COLOR.astype(np.uint16) * 1000)
    np.testing.assert_array_equal(dataset.records[1].read(), COLOR.astype(np.uint16) * 257)
    unit = np.linspace(0, 1, 120, dtype=np.float32).reshape(4, 5, 6)
    volume = Record("v", 0, constant(unit), read_mask=constant(unit > 0.5))
    convert.convert(Dataset("volumes", ("x", "y"), "single", (volume,)), tmp_path / "2")
    back = read(tmp_path / "2").records[0]
    np.testing.assert_array_equal(back.read()[..., 0], np.round(unit * 65535))
    np.testing.assert_array_equal(back.read_mask(), unit > 0.5)


def test_a_bad_image_stops_or_is_left_out(tmp_path, capsys):
    def bad():
        raise BadImage("cut off")

    records = (Record("1", 0, constant(GREY)), Record("2", 1, bad), Record("3", 1, constant(GREY), read_mask=bad))
    dataset = Dataset("bad", ("x", "y"), "single", records)
    with pytest.raises(UserError, match="2: cut off"):
        convert.convert(dataset, tmp_path)
    convert.convert(dataset, tmp_path, on_bad="skip")
    assert [(record.image_id, record.read_mask) for record in read(tmp_path).records] == [("1", None), ("3", None)]
    assert "left out 2: cut off" in capsys.readouterr().err
    with pytest.raises(UserError, match="exists already"):
        convert.convert(dataset, tmp_path)


def test_command_line_in_a_process_without_tensorflow(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GREY).save(tmp_path / "set" / name)
    arguments = [f"--path={tmp_path / 'set'}", f"--out={tmp_path / 'out'}"]
    command = [sys.executable, "-X", "importtime", "-m", "attn_jax.data.convert", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"{tmp_path / 'out/set/1.0.0'}\n", done.stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "tensorflow_datasets" in imported and "tensorflow" not in imported
    assert len(read(tmp_path / "out").records) == 4
    assert convert.main([f"--path={tmp_path / 'none'}", "--out=x"]) == 2


def test_a_set_of_another_author(tmp_path):
    import tensorflow_datasets as tfds

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "public"
        VERSION = tfds.core.Version("2.0.0")

        def _info(self):
            features = {"scan": tfds.features.Image(), "grade": tfds.features.ClassLabel(names=["low", "high"])}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0, 4), "validation": self._generate_examples(4, 6)}

        def _generate_examples(self, start, stop):
            for at in range(start, stop):
                file = tmp_path / f"{at}.jpg"
                Image.fromarray(np.full((400, 400, 3), 10 * at, np.uint8)).save(file)
                yield at, {"scan": str(file), "grade": -1 if at == 3 else at % 2}

    tfds.disable_progress_bar()
    Builder(data_dir=tmp_path / "data", file_format="array_record").download_and_prepare()
    with pytest.raises(UserError, match="1 of its images cannot be used, the first is train/.*no label"):
        read(tmp_path / "data")
    dataset = read(tmp_path / "data", on_bad="skip", image_size=100)
    assert dataset.classes == ("low", "high") and len(dataset.records) == 5 and len(dataset.skipped) == 1
    assert [record.split for record in dataset.records] == ["train"] * 3 + ["val"] * 2
    for record in dataset.records:
        image = record.read()
        assert image.shape == (100, 100, 3) and int(image[0, 0, 0]) // 10 % 2 == record.label
    info = (tmp_path / "data/public/2.0.0/dataset_info.json").read_text()
    (tmp_path / "data/public/2.0.0/dataset_info.json").write_text(info.replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="tfrecord.*file_format=array_record"):
        read(tmp_path / "data")


def test_what_is_no_prepared_set(tmp_path):
    with pytest.raises(UserError, match="no prepared TFDS set"):
        read(tmp_path)
    dataset = Dataset("one", ("x", "y"), "single", (Record("1", 0, constant(GREY)), Record("2", 1, constant(GREY))))
    convert.convert(dataset, tmp_path)
    convert.convert(Dataset("two", ("x", "y"), "single", dataset.records), tmp_path)
    with pytest.raises(UserError, match="several TFDS sets"):
        read(tmp_path)
    assert read(tmp_path, name="two").records[0].split is None
