import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from attn_jax.data import phantom, sources
from attn_jax.errors import UserError

OPTIONS = {
    "name": "p",
    "source": "phantom",
    "image_size": 32,
    "split": {"val": 0.2, "test": 0.3},
    "phantom": {
        "modality": "radiograph",
        "images": 40,
        "images_per_patient": 2,
        "positive_fraction": 0.4,
        "lesion_size": 0.15,
        "lesion_contrast": 0.35,
        "lesions": 1,
        "shortcut": 0.0,
        "seed": 3,
    },
}

modalities = pytest.mark.parametrize("modality", phantom.MODALITIES)


def draw(settings, index, **changes):
    return phantom.simulate(settings, dataclasses.replace(phantom.case(settings, index), **changes))


@modalities
def test_an_image_depends_on_its_number_alone(modality):
    few = phantom.Settings(modality=modality, size=32, images=4)
    many = dataclasses.replace(few, images=4000)
    forwards = [draw(few, i)[0] for i in range(4)]
    backwards = [draw(many, i)[0] for i in reversed(range(4))][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    assert len({image.tobytes() for image in forwards}) == 4
    assert not np.array_equal(forwards[0], draw(dataclasses.replace(few, seed=1), 0)[0])


@modalities
def test_the_finding_changes_the_image_where_its_mask_says_and_nowhere_else(modality):
    settings = phantom.Settings(modality=modality, size=128)
    for index in range(3):
        ill, mask = draw(settings, index, positive=True)
        well, none = draw(settings, index, positive=False)
        assert none is None and mask.dtype == bool and mask.shape == (128, 128)
        changed = (ill != well).any(-1)
        far = ndimage.distance_transform_edt(~mask) > 0.15 * 128
        assert not changed[far].any()
        assert changed[mask].mean() > 0.9


@modalities
def test_the_finding_shows_inside_its_mask_and_not_in_the_image_mean(modality):
    settings = phantom.Settings(modality=modality, size=32, images_per_patient=1)
    cases = [phantom.case(settings, index) for index in range(240)]
    means, local, labels = [], [], []
    for case in cases:
        image = phantom.simulate(settings, case)[0].mean(-1)
        mask = phantom.simulate(settings, dataclasses.replace(case, positive=True))[1]
        ring = ndimage.binary_dilation(mask, iterations=4) & ~ndimage.binary_dilation(mask)
        means.append(image.mean())
        local.append(image[mask].mean() - image[ring].mean())
        labels.append(case.positive)
    from_mean, from_lesion = roc_auc_score(labels, means), roc_auc_score(labels, local)
    assert max(from_mean, 1 - from_mean) < 0.7
    assert max(from_lesion, 1 - from_lesion) > 0.85


@modalities
def test_dials_of_size_contrast_and_number(modality):
    settings = phantom.Settings(modality=modality, size=96)

    def area(size):
        dial = dataclasses.replace(settings, lesion_size=size)
        return np.mean([draw(dial, i, positive=True)[1].mean() for i in range(0, 24, 2)])

    assert area(0.12) == pytest.approx(np.pi / 4 * 0.12**2, rel=0.35)
    assert 2.8 < area(0.2) / area(0.1) < 5.2

    def change(contrast):
        dial = dataclasses.replace(settings, lesion_contrast=contrast)
        (ill, mask), (well, _) = draw(dial, 0, positive=True), draw(dial, 0, positive=False)
        return abs(ill[mask].astype(float) - well[mask]).mean()

    assert change(0.0) == 0 and 0 < change(0.2) < change(0.5) < change(0.9)

    five = dataclasses.replace(settings, lesion_size=0.05, lesions=5)
    pieces = [ndimage.label(draw(five, i, positive=True)[1])[1] for i in range(0, 16, 2)]
    assert 3 <= np.median(pieces) <= 7


@modalities
def test_images_of_one_patient_share_their_anatomy(modality):
    settings = phantom.Settings(modality=modality, size=64)
    images = [draw(settings, i, positive=False)[0].mean(-1) for i in range(16)]
    alike = np.corrcoef([ndimage.gaussian_filter(image, 2).ravel() for image in images])
    same = np.mean([alike[i, i + 1] for i in range(0, 16, 2)])
    other = np.mean([alike[i, j] for i in range(0, 16, 2) for j in range(i + 2, 16)])
    assert same > other + 0.01


@modalities
def test_another_size_shows_the_same_picture(modality):
    large, large_mask = draw(phantom.Settings(modality=modality, size=128), 0, positive=True)
    small, small_mask = draw(phantom.Settings(modality=modality, size=32), 0, positive=True)
    assert small.shape == (32, 32, 3 if modality == "dermoscopy" else 1) and small.dtype == np.uint8
    shrunk = large.reshape(32, 4, 32, 4, -1).mean((1, 3))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.94
    assert small_mask.mean() == pytest.approx(large_mask.mean(), rel=0.3)


@pytest.mark.parametrize(("fraction", "val", "test"), [(0.5, 0.15, 0.15), (0.13, 0.3, 0.25), (1.0, 0.0, 0.5)])
def test_shares_hold_to_one_patient_however_many_images_there_are(fraction, val, test):
    settings = phantom.Settings(positive_fraction=fraction, val=val, test=test, images_per_patient=1, seed=5)
    cases = [phantom.case(settings, index) for index in range(500)]
    for count in (10, 77, 500):
        for positive, share in ((True, fraction), (False, 1 - fraction)):
            ranks = [case.split for case in cases[:count] if case.positive is positive]
            assert abs(len(ranks) - share * count) <= 1
            assert abs(ranks.count("test") - test * len(ranks)) <= 1
            assert abs(ranks.count("val") - val * len(ranks)) <= 2


def test_the_tag_follows_the_label_in_training_and_says_nothing_in_the_test_images():
    for shortcut in (1.0, 0.5):
        settings = phantom.Settings(shortcut=shortcut, test=0.3)
        cases = [phantom.case(settings, index) for index in range(2000)]
        seen = [case.tag == case.positive for case in cases if case.split != "test"]
        assert np.mean(seen) == pytest.approx((1 + shortcut) / 2, abs=1e-9 if shortcut == 1 else 0.04)
        for positive in (True, False):
            held_out = [case.tag for case in cases if case.split == "test" and case.positive is positive]
            assert abs(sum(held_out) - len(held_out) / 2) <= 1
    assert not any(phantom.case(phantom.Settings(), index).tag for index in range(50))


@pytest.mark.parametrize("size", [32, 128])
@modalities
def test_the_tag_changes_its_box_alone(modality, size):
    settings = phantom.Settings(modality=modality, size=size)
    changed = (draw(settings, 1, tag=True)[0] != draw(settings, 1, tag=False)[0]).any(-1)
    box = phantom.tag_mask(size)
    assert changed[box].mean() > 0.25 and not changed[~box].any()


def test_source_gives_patients_official_splits_masks_and_columns():
    dataset = sources.load(OPTIONS)
    assert dataset.simulated and dataset.classes == ("clear", "opacity") and len(dataset.records) == 40
    sides = {}
    for record in dataset.records:
        sides.setdefault(record.group, set()).add((record.split, record.label, record.columns["sex"]))
        assert (record.read_mask is not None) == (record.label == 1)
        assert set(record.columns) == {"sex", "site", "tag"}
    assert len(sides) == 20 and all(len(facts) == 1 for facts in sides.values())
    ill = next(record for record in dataset.records if record.label == 1)
    assert ill.read().shape == (32, 32, 1) and ill.read_mask().any()


@pytest.mark.parametrize(
    ("field", "value"),
    [("lesion_size", 0.9), ("shortcut", -0.1), ("images", 0), ("modality", "mri"), ("positive_fraction", float("nan"))],
)
def test_a_dial_out_of_range_is_named(field, value):
    with pytest.raises(UserError, match=f"data.phantom.{field}"):
        sources.load({**OPTIONS, "phantom": {**OPTIONS["phantom"], field: value}})


def test_impossible_sizes_and_splits_are_named():
    with pytest.raises(UserError, match="data.image_size"):
        sources.load({**OPTIONS, "image_size": 4})
    with pytest.raises(UserError, match="data.split"):
        sources.load({**OPTIONS, "split": {"val": 0.5, "test": 0.5}})
