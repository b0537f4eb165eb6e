"""NIfTI volumes with a known voxel pattern, saved in several orientations."""

import sys

import numpy as np
import pytest

from attn_jax.data import sources
from attn_jax.data.records import BadImage, BadMask
from attn_jax.errors import UserError

nibabel = pytest.importorskip("nibabel")


def volume(shape=(6, 8, 4)):
    """RAS+ voxels that grow to the right, three times as fast to the front, ten times as fast upwards."""
    x, y, z = np.indices(shape)
    return (x + 3 * y + 10 * z).astype(np.float32)


def save(path, voxels, zooms=(1.0, 1.0, 3.0), orientation="RAS"):
    """Saves RAS+ voxels as a file that stores its axes in another orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, np.diag([*zooms, 1.0]))
    wanted = nibabel.orientations.axcodes2ornt(orientation)
    nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], wanted)), path)


def make(root, **first):
    """Two classes of two volumes, a/1 made with the given arguments."""
    for name in ("a/1", "a/2", "b/1", "b/2"):
        save(root / f"{name}.nii.gz", volume(), **(first if name == "a/1" else {}))


def load(root, **options):
    return sources.load({"source": "nifti", "path": str(root), **options})


def scaled(voxels):
    low, high = np.percentile(voxels, (0.5, 99.5))
    return np.clip((voxels - low) / (high - low), 0, 1)


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "PSR"])
def test_volumes_are_canonical_and_scaled(tmp_path, orientation):
    make(tmp_path, orientation=orientation)
    dataset = load(tmp_path, volume=True)
    assert dataset.classes == ("a", "b") and [r.image_id for r in dataset.records][0] == "a/1.nii.gz"
    read = dataset.records[0].read()
    assert read.dtype == np.float32
    np.testing.assert_allclose(read[..., 0], scaled(volume()), atol=1e-6)


@pytest.mark.parametrize(("zooms", "axis"), [((1, 1, 3), 2), ((1, 1, 1), 2), ((1, 5, 1), 1), ((4, 1, 1), 0)])
def test_slices_cross_the_axis_of_the_largest_spacing(tmp_path, zooms, axis):
    make(tmp_path, zooms=zooms)
    records = [record for record in load(tmp_path).records if record.group == "a/1.nii.gz"]
    assert len(records) == (6, 8, 4)[axis] and records[2].image_id == "a/1.nii.gz#002"
    image = records[2].read()[..., 0]
    plane = np.take(scaled(volume()), 2, axis)
    np.testing.assert_allclose(image, plane.T[::-1], atol=1e-6)  # columns to the right, rows from the top down
    assert image[0].mean() > image[-1].mean()


def test_masks_are_volumes_of_the_same_name(tmp_path):
    make(tmp_path)
    lesion = volume() > 40
    save(tmp_path / "masks/a/1.nii.gz", lesion.astype(np.uint8) * 2, orientation="LPI")
    save(tmp_path / "masks/a/2.nii.gz", np.zeros((3, 3, 3), np.uint8))
    records = {record.image_id: record for record in load(tmp_path, volume=True).records}
    np.testing.assert_array_equal(records["a/1.nii.gz"].read_mask(), lesion)
    with pytest.raises(BadMask, match="voxels"):
        records["a/2.nii.gz"].read_mask()
    assert records["b/1.nii.gz"].read_mask is None
    slices = [record for record in load(tmp_path).records if record.group == "a/1.nii.gz"]
    np.testing.assert_array_equal(slices[1].read_mask(), lesion[:, :, 1].T[::-1])


def test_bad_volumes(tmp_path):
    make(tmp_path)
    (tmp_path / "a/3.nii.gz").write_bytes((tmp_path / "a/2.nii.gz").read_bytes()[:150])
    (tmp_path / "a/4.nii.gz").write_bytes(b"")
    save(tmp_path / "a/5.nii", np.full((3, 3, 3), np.nan, np.float32))
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)), tmp_path / "a/6.nii")
    for volume_wanted in (True, False):
        records = {record.image_id.split("#")[0]: record for record in load(tmp_path, volume=volume_wanted).records}
        for name, reason in (("3.nii.gz", "damaged"), ("4.nii.gz", "damaged"), ("5.nii", "finite"), ("6.nii", "4 dim")):
            with pytest.raises(BadImage, match=reason) as caught:
                records[f"a/{name}"].read()
            assert "\n" not in str(caught.value)


def test_a_table_may_name_the_volumes(tmp_path):
    make(tmp_path)
    rows = "a/1.nii.gz,x,p\na/2.nii.gz,y,p\nb/1.nii.gz,x,q\nb/2.nii.gz,y,r\n"
    (tmp_path / "t.csv").write_text(f"path,label,patient\n{rows}")
    dataset = load(tmp_path, volume=True, table={"file": "t.csv"})
    assert dataset.classes == ("x", "y") and [record.group for record in dataset.records] == ["p", "p", "q", "r"]


def test_without_nibabel(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(UserError, match=r'pip install "attn_jax\[medical\]"'):
        load(tmp_path)
