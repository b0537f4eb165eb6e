"""DICOM files written here: what a viewer would show is worked out by hand from the standard's formulas."""

import sys

import numpy as np
import pytest
from PIL import Image

from attn_jax.data import sources
from attn_jax.data.records import BadImage, BadMask
from attn_jax.data.sources import dicom
from attn_jax.errors import UserError

pydicom = pytest.importorskip("pydicom")
RAMP = np.arange(0, 4000, 500, dtype=np.uint16).reshape(2, 4)


def save(path, stored, photometric="MONOCHROME2", frames=0, syntax=None, patient="p1", **tags):
    """A minimal file of the given stored values and tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = pydicom.dataset.FileMetaDataset()
    header.TransferSyntaxUID = syntax or pydicom.uid.ExplicitVRLittleEndian
    header.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    header.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    ds = pydicom.Dataset()
    ds.file_meta = header
    ds.SOPClassUID, ds.SOPInstanceUID = header.MediaStorageSOPClassUID, header.MediaStorageSOPInstanceUID
    ds.PatientID, ds.PhotometricInterpretation = patient, photometric
    ds.Rows, ds.Columns = stored.shape[1:3] if frames else stored.shape[:2]
    ds.SamplesPerPixel = 3 if photometric == "RGB" else 1
    if photometric == "RGB":
        ds.PlanarConfiguration = 0
    if frames:
        ds.NumberOfFrames = frames
    ds.BitsAllocated = ds.BitsStored = stored.dtype.itemsize * 8
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(stored.dtype.kind == "i")
    ds.PixelData = stored.tobytes() if syntax is None else pydicom.encaps.encapsulate([stored.tobytes()])
    for tag, value in tags.items():
        setattr(ds, tag, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def full_range(unit):
    return np.round(np.asarray(unit) * 65535).astype(np.uint16)[..., None]


def test_without_a_window_the_lowest_is_black_and_the_highest_white(tmp_path):
    read = dicom.read_frame(save(tmp_path / "a", RAMP))
    np.testing.assert_array_equal(read, full_range(RAMP / 3500))
    inverted = dicom.read_frame(save(tmp_path / "b", RAMP, "MONOCHROME1"))
    np.testing.assert_array_equal(inverted, full_range(1 - RAMP / 3500))


def test_rescale_and_window(tmp_path):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": [1000, 5], "WindowWidth": [2001, 9]}
    hounsfield = RAMP * 2.0 - 1000
    expected = np.clip((hounsfield - 999.5) / 2000 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2, the first window
    read = dicom.read_frame(save(tmp_path / "a", RAMP, **tags))
    np.testing.assert_array_equal(read, full_range(expected))
    exact = dicom.read_frame(save(tmp_path / "b", RAMP, **tags, VOILUTFunction="LINEAR_EXACT"))
    np.testing.assert_array_equal(exact, full_range(np.clip((hounsfield - 1000) / 2001 + 0.5, 0, 1)))
    sigmoid = dicom.read_frame(save(tmp_path / "c", RAMP, **tags, VOILUTFunction="SIGMOID"))
    np.testing.assert_array_equal(sigmoid, full_range(1 / (1 + np.exp(-4 * (hounsfield - 1000) / 2001))))
    windowed = pydicom.pixels.apply_windowing(hounsfield, pydicom.dcmread(tmp_path / "a"))
    low, high = -1000, 65535 * 2 - 1000  # what 16 stored bits rescale to, which pydicom maps the window onto
    np.testing.assert_allclose(read[..., 0] / 65535, (windowed - low) / (high - low), atol=2e-5)


def test_signed_values_and_voi_table(tmp_path):
    signed = np.array([[-1000, 0], [1000, 3000]], np.int16)
    np.testing.assert_array_equal(dicom.read_frame(save(tmp_path / "a", signed)), full_range((signed + 1000) / 4000))
    voi = pydicom.Dataset()
    voi.LUTDescriptor, voi.LUTData = [4, 0, 8], [0, 255, 100, 50]
    voi["LUTDescriptor"].VR = voi["LUTData"].VR = "US"
    stored = np.array([[0, 1, 2, 3, 9]], np.uint8)
    read = dicom.read_frame(save(tmp_path / "b", stored, VOILUTSequence=pydicom.Sequence([voi])))
    np.testing.assert_array_equal(read, full_range(np.array([[0, 255, 100, 50, 50]]) / 255))


def test_color_stays(tmp_path):
    color = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(dicom.read_frame(save(tmp_path / "a", color, "RGB")), color)


def load(root, **options):
    return sources.load({"source": "dicom", "path": str(root), **options})


def test_folder_frames_and_patients(tmp_path):
    save(tmp_path / "ill/1.dcm", RAMP, patient="p1")
    save(tmp_path / "ill/2", np.stack([RAMP, RAMP[::-1], RAMP]), frames=3, patient="p2")
    save(tmp_path / "well/3.dcm", RAMP, patient="")
    save(tmp_path / "well/4_x.dcm", RAMP, patient="p1")
    dataset = load(tmp_path)
    assert [(r.image_id, r.label, r.group) for r in dataset.records] == [
        ("ill/1.dcm", 0, "p1"), ("ill/2#000", 0, "p2"), ("ill/2#001", 0, "p2"), ("ill/2#002", 0, "p2"),
        ("well/3.dcm", 1, "well/3.dcm"), ("well/4_x.dcm", 1, "p1"),
    ]  # fmt: skip
    np.testing.assert_array_equal(dataset.records[2].read(), full_range(RAMP[::-1] / 3500))
    assert load(tmp_path, group_regex="^(4)_").records[-1].group == "4"


def test_masks_beside(tmp_path):
    for name in ("a/1", "a/2", "b/1", "b/2"):
        save(tmp_path / f"{name}.dcm", RAMP)
    lesion = RAMP > 2000
    for folder in "ab":
        (tmp_path / "masks" / folder).mkdir(parents=True)
    Image.fromarray(lesion.astype(np.uint8) * 255).save(tmp_path / "masks/a/1.png")
    save(tmp_path / "masks/a/2.dcm", lesion.astype(np.uint8))
    Image.fromarray(np.zeros((9, 4), np.uint8)).save(tmp_path / "masks/b/1.png")
    first, second, third, _ = load(tmp_path).records
    np.testing.assert_array_equal(first.read_mask(), lesion)
    np.testing.assert_array_equal(second.read_mask(), lesion)
    with pytest.raises(BadMask, match="9 x 4 pixels, the image 2 x 4"):
        third.read_mask()


def test_rsnas_boxes(tmp_path):
    for name in "abcd":
        save(tmp_path / f"stage_2_train_images/{name}.dcm", RAMP)
    table = "patientId,x,y,width,height,Target\na,1,0,2,1,1\na,3,1,1,1,1\nb,,,,,0\nc,0,0,9,9,1\nd,,,,,0\n"
    (tmp_path / "stage_2_train_labels.csv").write_text(table)
    first, second, third, _ = load(tmp_path, table={"file": "stage_2_train_labels.csv"}).records
    np.testing.assert_array_equal(first.read_mask(), [[0, 1, 1, 0], [0, 0, 0, 1]])
    assert (first.label, second.label, second.read_mask) == (1, 0, None)
    with pytest.raises(BadMask, match=r"its box \(0, 0, 9, 9\) is not within its 4 x 2 pixels"):
        third.read_mask()


def test_bad_files_say_so_in_one_line(tmp_path):
    truncated = save(tmp_path / "truncated", np.tile(RAMP, (8, 8)))
    truncated.write_bytes(truncated.read_bytes()[:-200])
    (tmp_path / "empty").write_bytes(b"")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    save(tmp_path / "jpegls", RAMP, syntax=pydicom.uid.JPEGLSLossless)
    without = pydicom.dcmread(save(tmp_path / "none", RAMP))
    del without.PixelData
    without.save_as(tmp_path / "none")
    for name, reason in (
        ("truncated", "cannot be decoded"),
        ("empty", "empty"),
        ("a.png", "not a DICOM file"),
        ("jpegls", "cannot be decoded"),
        ("none", "without pixels"),
    ):
        with pytest.raises(BadImage, match=reason) as caught:
            dicom.read_frame(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_without_pydicom(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r'pip install "attn_jax\[medical\]"'):
        load(tmp_path)
