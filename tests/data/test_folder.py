"""Folders as users have them, made here, and the real ones where they are."""

import numpy as np
import pytest
from PIL import Image

from attn_jax.data import sources
from attn_jax.data.records import BadImage, BadMask
from attn_jax.errors import UserError


def put(root, *names, value=100, size=(12, 10)):
    """Writes a flat grey picture of `size` (height, width) under each name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(size, value, np.uint8)).save(root / name)


def load(root, **options):
    return sources.load({"source": "folder", "path": str(root), **options})


def test_class_folders(tmp_path):
    put(tmp_path, "yes/2.png", "yes/10.png", "no/1.jpg", "no/3.png", "yes/patient/7.png")
    put(tmp_path, ".git/a.png", "__MACOSX/yes/2.png", "no/._1.jpg.png", "yes/.cache/a.png")
    for litter in ("yes/Thumbs.db", "yes/.DS_Store", "no/notes.txt", "no/desktop.ini", "labels.csv"):
        (tmp_path / litter).write_bytes(b"x")
    dataset = load(tmp_path)
    assert dataset.name == tmp_path.name and dataset.classes == ("no", "yes") and dataset.kind == "single"
    assert [(r.image_id, r.label) for r in dataset.records] == [
        ("no/1.jpg", 0), ("no/3.png", 0), ("yes/2.png", 1), ("yes/10.png", 1), ("yes/patient/7.png", 1),
    ]  # fmt: skip
    assert dataset.records[3].read().tolist() == np.full((12, 10, 1), 100).tolist()
    assert {(r.group, r.split, r.read_mask) for r in dataset.records} == {(None, None, None)}
    assert dataset.skipped == ()


def test_files_of_any_extension_are_records_and_decide_when_read(tmp_path):
    put(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (tmp_path / "a/2.png").rename(tmp_path / "a/2.scan")
    (tmp_path / "b/3").write_bytes(b"")
    records = {record.image_id: record for record in load(tmp_path).records}
    assert records["a/2.scan"].read().shape == (12, 10, 1)
    with pytest.raises(BadImage, match="empty"):
        records["b/3"].read()


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "Testing")])
def test_split_folders(tmp_path, names):
    for split in names:
        put(tmp_path, *(f"{split}/{name}/{split}{at}.png" for name in ("benign", "malignant") for at in range(2)))
    put(tmp_path, "pred/1.png", f"{tmp_path.name}/train/benign/1.png")
    dataset = load(tmp_path)
    assert dataset.classes == ("benign", "malignant") and len(dataset.records) == 12
    wanted = dict(zip(names, ("train", "val", "test"), strict=True))
    assert all(record.split == wanted[record.image_id.split("/")[0]] for record in dataset.records)
    assert {skipped.path for skipped in dataset.skipped} == {"pred", tmp_path.name}


def test_a_train_folder_alone_has_no_official_split_and_a_test_folder_alone_is_a_test_set(tmp_path):
    put(tmp_path, *(f"one/train/{name}/{at}.png" for name in "ab" for at in range(2)))
    put(tmp_path, *(f"two/test/{name}/{at}.png" for name in "ab" for at in range(2)))
    assert {record.split for record in load(tmp_path / "one").records} == {None}
    assert {record.split for record in load(tmp_path / "two").records} == {"test"}


def test_wrapped_and_copied_folders(tmp_path):
    put(tmp_path, *(f"brain/{name}/{at}.png" for name in ("yes", "no") for at in range(2)))
    assert [record.image_id for record in load(tmp_path).records][0] == "no/0.png"
    put(tmp_path, *(f"brain/brain_tumor_dataset/{name}/{at}.png" for name in ("yes", "no") for at in range(2)))
    dataset = load(tmp_path / "brain")
    assert dataset.classes == ("no", "yes") and len(dataset.records) == 4
    assert [(s.path, s.reason) for s in dataset.skipped] == [
        ("brain_tumor_dataset", "a second copy of the class folders")
    ]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ((), "holds none"),
        (("a/1.png", "a/2.png"), "only 'a'"),
        (("1.png", "2.png"), "holds none"),
        (("a/1.png", "a/2.png", "b/1.png"), "class 'b'.* has one image"),
        (("a/1.png", "a/2.png", "b/.hidden/1.png"), "class folder .*b holds no image"),
        (("train/a/1.png", "train/b/1.png", "test/A/1.png", "test/b/1.png"), "one image"),
        (("train/a/1.png", "train/a/3.png", "train/b/1.png", "test/A/1.png", "test/A/2.png", "test/b/1.png"), "'A' in"),
    ],
)
def test_what_is_no_data_set_says_so_in_one_line(tmp_path, made, message):
    put(tmp_path, *made)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_wrong_options(tmp_path):
    put(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    for options, message in (
        ({"source": "foldr"}, "Did you mean 'folder'"),
        ({"path": ""}, "data.path is empty"),
        ({"path": str(tmp_path / "none")}, "does not exist"),
        ({"path": str(tmp_path / "a/1.png")}, "is a file"),
        ({"on_bad": "ignore"}, "'error' or 'skip'"),
        ({"group_regex": "("}, "no regular expression"),
    ):
        with pytest.raises(UserError, match=message):
            sources.load({"source": "folder", "path": str(tmp_path), **options})


def test_group_regex(tmp_path):
    put(tmp_path, "a/p1_1.png", "a/p1_2.png", "a/odd.png", "b/p2_1.png", "b/odd.png")
    groups = {r.image_id: r.group for r in load(tmp_path, group_regex=r"^(p\d+)_").records}
    assert groups == {
        "a/p1_1.png": "p1", "a/p1_2.png": "p1", "a/odd.png": "a/odd.png", "b/p2_1.png": "p2", "b/odd.png": "b/odd.png",
    }  # fmt: skip
    assert load(tmp_path, group_regex=r"p\d").records[1].group == "p1"  # without a group, the whole match


def test_masks_by_name_stem_and_folder(tmp_path):
    put(tmp_path, "yes/1.jpg", "yes/2.jpg", "no/1.jpg", "no/3.jpg", "no/4.jpg", "no/4_mask.png")
    put(tmp_path, "masks/yes/1.png", "yes/masks/2.png", "masks/3_segmentation.png", "masks/9.png", value=255)
    put(tmp_path, "masks/3.png", value=0)
    dataset = load(tmp_path)
    masked = {record.image_id for record in dataset.records if record.read_mask}
    assert dataset.classes == ("no", "yes") and len(dataset.records) == 5
    assert masked == {"yes/1.jpg", "yes/2.jpg", "no/3.jpg", "no/4.jpg"}
    assert {s.path for s in dataset.skipped} == {"masks/9.png", "masks/3_segmentation.png"}


def test_masks_inside_splits(tmp_path):
    put(tmp_path, *(f"{split}/{name}/{at}.png" for split in ("train", "test") for name in "ab" for at in range(2)))
    put(tmp_path, "train/masks/a/0.png", "masks/test/b/1.png", value=255)
    assert {r.image_id for r in load(tmp_path).records if r.read_mask} == {"train/a/0.png", "test/b/1.png"}


def test_a_mask_of_two_images_is_refused(tmp_path):
    put(tmp_path, "yes/1.png", "yes/2.png", "no/1.png", "no/2.png", "masks/1.png")
    with pytest.raises(UserError, match="masks/1.png fits no/1.png and yes/1.png"):
        load(tmp_path)


def test_what_is_lesion(tmp_path):
    put(tmp_path, *(f"a/{at}.png" for at in range(7)), "b/1.png", "b/2.png", size=(8, 8))
    half = np.zeros((8, 8), np.uint8)
    half[:, :4] = 1
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    for at, mask in enumerate((half, half * 255, half * 3, ramp, np.kron(half, np.ones((2, 2), np.uint8)) * 255)):
        put(tmp_path, f"a/masks/{at}.png")
        Image.fromarray(mask).save(tmp_path / f"a/masks/{at}.png")
    Image.fromarray(half * 255).save(tmp_path / "a/masks/5.jpg", quality=60)
    put(tmp_path, "a/masks/6.png", size=(8, 11))
    masks = [record.read_mask for record in load(tmp_path).records[:7]]
    for at in (0, 1, 2, 5):
        np.testing.assert_array_equal(masks[at](), half > 0, err_msg=str(at))
    np.testing.assert_array_equal(masks[3](), ramp >= 128)
    np.testing.assert_array_equal(masks[4](), np.kron(half, np.ones((2, 2))) > 0)
    with pytest.raises(BadMask, match="8 x 11 pixels, the image 8 x 8"):
        masks[6]()


def test_a_damaged_mask_is_a_bad_mask(tmp_path):
    put(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/4.png", "masks/1.png")
    (tmp_path / "masks/1.png").write_bytes(b"")
    with pytest.raises(BadMask, match="1.png: the file is empty"):
        load(tmp_path).records[0].read_mask()


def test_reading_uses_the_working_size(tmp_path):
    put(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", size=(400, 800))
    assert load(tmp_path, image_size=100).records[0].read().shape == (100, 200, 1)
    assert load(tmp_path).records[0].read().shape == (400, 800, 1)


@pytest.mark.realdata
def test_brain_mri(real_data):
    dataset = load(real_data / "brain_mri", image_size=64)
    masked = [record for record in dataset.records if record.read_mask]
    assert dataset.classes == ("no", "yes") and len(dataset.records) == 226 and len(masked) == 128
    assert all(record.label == 1 for record in masked) and dataset.skipped == ()
    rejected = {}
    for record in dataset.records:
        assert record.read().shape[-1] in (1, 3)
        try:
            assert record.read_mask is None or record.read_mask().any()
        except BadMask as error:
            rejected[record.image_id] = str(error)
    assert set(rejected) == {"yes/Y163.jpg"}


@pytest.mark.realdata
def test_covid_ct_and_chest_xray(real_data):
    dataset = load(real_data / "covid_ct", group_regex=r"^(.+)[-%]\d+[^-%]*$")
    names = [record.image_id.rsplit("/", 1)[1].rsplit(".", 1)[0] for record in dataset.records]
    heads = {name[: max(name.rfind("-"), name.rfind("%"))] if set(name) & set("-%") else name + "*" for name in names}
    assert len(dataset.records) == 746 and len({record.group for record in dataset.records}) == len(heads)
    chest = load(real_data / "chest_xray")
    assert np.bincount([record.label for record in chest.records]).tolist() == [124, 500, 500]
