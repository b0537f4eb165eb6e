import numpy as np
import pytest

from attn_jax.data.stratify import Pool, rarest_positive
from attn_jax.errors import UserError


@pytest.mark.parametrize("seed", range(8))
def test_every_part_gets_its_share_of_every_class(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.choice(4, 600, p=[0.5, 0.3, 0.15, 0.05])
    components = random.integers(0, 220, 600)
    parts = Pool(labels, components, "abcd").divide(np.arange(600), [0.7, 0.15, 0.15], [seed])
    assert all(len(set(parts[components == c])) == 1 for c in np.unique(components))
    for part, share in enumerate([0.7, 0.15, 0.15]):
        assert abs((parts == part).mean() - share) < 0.02
        proportions = np.bincount(labels[parts == part], minlength=4) / (parts == part).sum()
        assert np.abs(proportions - np.bincount(labels) / 600).max() < 0.05


def test_large_patients_are_spread_over_the_parts() -> None:
    sizes = np.repeat([10, 1], [30, 300])
    components = np.repeat(np.arange(330), sizes)
    parts = Pool(np.zeros(600, int), components, "a").divide(np.arange(600), [0.5, 0.5], [0])
    of_large = parts[:300].reshape(30, 10)[:, 0]
    assert 10 <= of_large.sum() <= 20


@pytest.mark.parametrize("seed", range(8))
def test_three_patients_are_enough_to_be_everywhere(seed: int) -> None:
    labels = np.repeat([0, 1, 2], [90, 40, 6])
    components = np.arange(136)
    components[-6:] = [200, 200, 201, 201, 201, 202]
    parts = Pool(labels, components, "abc").divide(np.arange(136), [0.8, 0.1, 0.1], [seed])
    for part in range(3):
        assert set(labels[parts == part]) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(8))
def test_patients_with_images_of_both_classes(seed: int) -> None:
    components = np.arange(60) % 12
    labels = (components < 3) & (np.arange(60) < 24)  # three patients have both, nine have one
    parts = Pool(labels.astype(int), components, "ab").divide(np.arange(60), [0.6, 0.2, 0.2], [seed])
    for present in (False, True):
        assert set(parts[labels == present]) == {0, 1, 2}


def test_too_small_a_class_is_named() -> None:
    pool = Pool(np.array([0] * 9 + [1] * 4), np.array([*range(9), 20, 20, 20, 21]), ["healthy", "rare"])
    with pytest.raises(UserError, match=r"'rare' has 4 images \(2 once patients.*3 parts"):
        pool.divide(np.arange(13), [0.7, 0.15, 0.15], [0])


def test_rare_findings_are_allowed_and_balanced() -> None:
    random = np.random.default_rng(0)
    labels = (random.random((400, 3)) < [0.5, 0.2, 0.04]).astype(np.float32)
    labels[random.random((400, 3)) < 0.1] = np.nan
    labels[:, 1][:2] = 1
    parts = Pool(labels, np.arange(400), "abc").divide(np.arange(400), [0.6, 0.2, 0.2], [1])
    share = np.array([(labels[parts == part] == 1).mean(0) for part in range(3)])
    assert np.abs(share - (labels == 1).mean(0)).max() < 0.05
    one = np.zeros((30, 2), np.float32)
    one[4, 1] = 1
    assert len(Pool(one, np.arange(30), "ab").divide(np.arange(30), [0.6, 0.4], [0])) == 30


def test_rarest_positive() -> None:
    labels = np.array([[1, 1, 0], [1, 0, np.nan], [0, 0, 0], [1, 0, 1], [1, 1, 1]], np.float32)
    labels = np.concatenate([labels, [[0, 1, 0]]])
    assert rarest_positive(labels).tolist() == [1, 0, 3, 2, 2, 1]
