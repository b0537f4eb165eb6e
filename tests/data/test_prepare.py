import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import pytest

from attn_jax.data import sources
from attn_jax.data.prepare import Prepared, normalisation, prepare
from attn_jax.data.records import BadImage, BadMask, Dataset, Record, Skipped
from attn_jax.errors import UserError

_RANDOM = np.random.default_rng(0).integers(0, 256, (40, 20, 30, 3), dtype=np.uint8)


def _options(**changes: Any) -> dict[str, Any]:
    split = {"seed": 0, "val": 0.15, "test": 0.2, "folds": 0, "fold": 0, "official": True, "duplicates": True}
    plain = {"name": "toy", "source": "folder", "path": "here", "on_bad": "error", "positive": "", "image_size": 10}
    return {**plain, "channels": 3, "volume": False, "cache": "auto", "table": {"file": ""}, "split": split, **changes}


def _raise(error: Exception) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        raise error

    return read


def _record(at: int, **fields: Any) -> Record:
    return Record(f"{at % 2}/{at}.png", fields.pop("label", at % 2), fields.pop("read", lambda: _RANDOM[at]), **fields)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Prepared]:
    """Prepares records as if a source had listed them."""

    def prepared(records: list[Record], options: Any = None, **fields: Any) -> Prepared:
        dataset = Dataset(
            fields.pop("name", "toy"),
            fields.pop("classes", ("no", "yes")),
            fields.pop("kind", "single"),
            tuple(records),
            **fields,
        )
        monkeypatch.setattr(sources, "load", lambda _: dataset)
        return prepare(options or _options(), tmp_path)

    return prepared


def test_images_labels_and_facts(serve: Callable[..., Prepared]) -> None:
    prepared = serve([_record(at, group=f"p{at // 2}", columns={"sex": "mf"[at % 2]}) for at in range(40)])
    assert prepared.images.shape == (40, 10, 10, 3) and prepared.images.dtype == np.uint8
    expected = _RANDOM.reshape(40, 10, 2, 10, 3, 3).mean((2, 4))
    assert np.abs(prepared.images - expected).max() <= 0.51
    assert prepared.labels.tolist() == [0, 1] * 20 and prepared.image_ids[3] == "1/3.png"
    assert list(prepared.columns["sex"][:2]) == ["m", "f"] and prepared.positive == 1
    assert all(len(set(prepared.split[at : at + 2])) == 1 for at in range(0, 40, 2))
    summary = prepared.summary
    assert json.loads(json.dumps(summary)) == summary
    assert summary["images"] == 40 and summary["groups"] == 20 and summary["sizes"]["median"] == [20, 30]
    assert sum(summary["counts"]["yes"].values()) == 20
    assert summary["counts"]["yes"]["test"] == (prepared.labels[prepared.rows("test")] == 1).sum()
    pixels = prepared.images[prepared.rows("train")].reshape(-1, 3) / 255
    np.testing.assert_allclose(summary["mean"], pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(summary["std"], pixels.std(0), rtol=1e-9)


def test_second_call_reads_nothing(serve: Callable[..., Prepared]) -> None:
    first = serve([_record(at) for at in range(40)])
    started = time.monotonic()
    again = serve([_record(at, read=_raise(AssertionError("decoded again"))) for at in range(40)])
    assert time.monotonic() - started < 1
    np.testing.assert_array_equal(first.images, again.images)
    assert first.digest == again.digest and first.summary == again.summary
    split = {**_options()["split"], "seed": 1}
    other = serve([], _options(split=split, cache="disk"))
    assert other.digest == first.digest and (other.split != first.split).any()
    assert isinstance(other.images, np.memmap)


def test_damaged_cache_is_rebuilt(serve: Callable[..., Prepared], tmp_path: Path) -> None:
    first = serve([_record(at) for at in range(40)])
    (file,) = tmp_path.glob("*/images.npy")
    file.write_bytes(file.read_bytes()[:-1])
    again = serve([_record(at) for at in range(40)])
    assert again.digest == first.digest and (again.images == first.images).all()


def test_masks_of_images_with_several_findings_are_not_used(serve: Callable[..., Prepared]) -> None:
    disc = np.hypot(*np.mgrid[-10:10, -15:15]) < 5
    labels = np.random.default_rng(0).integers(0, 2, (40, 3)).astype(np.float32)
    records = [_record(at, label=labels[at], read_mask=lambda: disc) for at in range(40)]
    prepared = serve(records, kind="multilabel", classes=("a", "b", "c"))
    np.testing.assert_array_equal(prepared.has_mask, labels.sum(axis=1) == 1)
    unused = int((labels.sum(axis=1) != 1).sum())
    assert prepared.summary["masks"] == 40 - unused
    assert any(f"masks or boxes of {unused} images are not used" in note for note in prepared.summary["notes"])


def test_bad_images_and_masks(serve: Callable[..., Prepared]) -> None:
    disc = np.hypot(*np.mgrid[-10:10, -15:15]) < 5
    records = [_record(at, read_mask=lambda: disc) if at < 30 else _record(at) for at in range(40)]
    records[7] = _record(7, read=_raise(BadImage("truncated after 12 bytes")))
    records[9] = _record(9, read=_raise(BadImage("zero bytes")))
    records[4] = dataclasses.replace(records[4], read_mask=_raise(BadMask("another shape")))
    with pytest.raises(UserError, match=r"2 of its images.*1/7\.png: truncated after 12 bytes"):
        serve(records)
    prepared = serve(records, _options(on_bad="skip"), skipped=(Skipped("extra", "a copy"),))
    assert len(prepared.labels) == 38 and "1/7.png" not in prepared.image_ids
    assert [entry["path"] for entry in prepared.summary["skipped"]] == ["extra", "1/7.png", "1/9.png"]
    assert prepared.summary["bad_masks"] == [{"path": "0/4.png", "reason": "another shape"}]
    assert prepared.masks is not None and prepared.has_mask.sum() == 27 == prepared.summary["masks"]
    assert not prepared.masks[~prepared.has_mask].any() and prepared.masks[0].mean() == pytest.approx(
        disc.mean(), abs=0.03
    )
    with pytest.raises(UserError, match="no image that can be read"):
        serve([_record(at, read=_raise(BadImage("bad"))) for at in range(4)], _options(on_bad="skip", name="all bad"))


def test_16_bit_volumes_in_one_channel(serve: Callable[..., Prepared]) -> None:
    volumes = np.random.default_rng(0).integers(0, 65536, (12, 6, 12, 18), dtype=np.uint16)
    records = [_record(at, read=lambda at=at: volumes[at]) for at in range(12)]
    prepared = serve(records, _options(image_size=6, channels=1, volume=True))
    assert prepared.images.shape == (12, 6, 6, 6, 1) and prepared.images.dtype == np.uint16
    expected = volumes.reshape(12, 6, 6, 2, 6, 3).mean((3, 5))
    assert np.abs(prepared.images[..., 0] - expected).max() <= 1
    np.testing.assert_allclose(prepared.summary["mean"], (prepared.images[prepared.rows("train")] / 65535).mean())


def test_findings(serve: Callable[..., Prepared]) -> None:
    records = [_record(at, label=(float(at % 2), float("nan") if at % 5 else 1.0)) for at in range(40)]
    prepared = serve(records, kind="multilabel")
    assert prepared.labels.dtype == np.float32 and prepared.labels.shape == (40, 2) and prepared.positive is None
    assert sum(prepared.summary["counts"]["yes"].values()) == 8


def test_near_duplicates_stay_together_and_are_reported(serve: Callable[..., Prepared]) -> None:
    records = [_record(at, read=lambda at=at: _RANDOM[at // 4 * 2 + at % 2]) for at in range(40)]  # each twice
    prepared = serve(records)
    assert prepared.summary["clusters"] == {"count": 20, "images": 40, "largest": 2}
    assert all(prepared.split[at] == prepared.split[at + 2] for at in range(40) if at % 4 < 2)
    assert prepared.summary["leaked_naive"] > 0
    split = {**_options()["split"], "duplicates": False}
    assert serve(records, _options(split=split)).summary["clusters"]["count"] == 0


@pytest.mark.parametrize(
    ("classes", "asked", "positive"),
    [
        (("no", "yes"), "", 1),
        (("CT_COVID", "CT_NonCOVID"), "", 0),
        (("PNEUMONIA", "normal"), "", 0),
        (("melanoma", "benign"), "", 0),
        (("benign", "malignant"), "", 1),
        (("covid", "normal"), "normal", 1),
        (("a", "b", "c"), "", None),
    ],
)
def test_positive_class(
    serve: Callable[..., Prepared], classes: tuple[str, ...], asked: str, positive: int | None
) -> None:
    records = [_record(at, label=at % len(classes)) for at in range(40)]
    prepared = serve(records, _options(positive=asked), classes=classes)
    assert prepared.positive == positive
    assert any("positive" in note for note in prepared.summary["notes"]) == (positive == 0)


def test_normalisation(serve: Callable[..., Prepared]) -> None:
    prepared = serve([_record(at) for at in range(40)])
    np.testing.assert_allclose(normalisation(prepared, "dataset")[0], prepared.summary["mean"], rtol=1e-6)
    np.testing.assert_allclose(normalisation(prepared, "imagenet")[1], [0.229, 0.224, 0.225], rtol=1e-6)
    grey = serve([_record(at) for at in range(40)], _options(channels=1))
    np.testing.assert_allclose(normalisation(grey, "imagenet")[0], [0.449], rtol=1e-6)
    np.testing.assert_allclose(normalisation(grey, "half"), [[0.5], [0.5]])
    with pytest.raises(UserError, match="'imagnet' is unknown. Did you mean 'imagenet'"):
        normalisation(prepared, "imagnet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": "maybe"}, "data.positive='maybe'.*Known: no, yes"),
        ({"cache": "ram"}, "data.cache='ram'"),
        ({"channels": 4}, "data.channels=4"),
        ({"image_size": 0}, "data.image_size=0"),
    ],
)
def test_wrong_options_are_named(serve: Callable[..., Prepared], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        serve([_record(at) for at in range(40)], _options(**change))


_PHANTOM = {
    "modality": "ct",
    "images": 24,
    "images_per_patient": 2,
    "positive_fraction": 0.5,
    "lesion_size": 0.2,
    "lesion_contrast": 0.4,
    "lesions": 1,
    "shortcut": 0.0,
    "seed": 0,
}


def test_no_path_means_simulated_images(tmp_path: Path) -> None:
    options = _options(path="", image_size=32, channels=1, positive="CT_COVID", phantom=_PHANTOM)
    prepared = prepare(ml_collections.ConfigDict(options), tmp_path)
    assert prepared.simulated and prepared.summary["simulated"] and prepared.summary["path"] == ""
    assert prepared.images.shape == (24, 32, 32, 1) and prepared.summary["groups"] == 12
    assert prepared.summary["clusters"]["count"] == 0 and (prepared.split != "dropped").all()


@pytest.mark.realdata
def test_real_splits_keep_copies_together(real_data: Path, tmp_path: Path) -> None:
    prepared = prepare(_options(path=str(real_data / "brain_mri"), image_size=64), tmp_path)
    assert prepared.classes == ("no", "yes") and len(prepared.labels) == 226 and prepared.has_mask.sum() == 127
    (bad,) = prepared.summary["bad_masks"]
    assert bad["path"] == "yes/Y163.jpg"
    side = dict(zip(prepared.image_ids, prepared.split, strict=True))
    assert side["yes/Y31.jpg"] == side["yes/Y62.jpg"]
    assert prepared.summary["clusters"]["count"] >= 25 and prepared.summary["leaked_naive"] >= 5
