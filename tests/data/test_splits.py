from typing import Any

import numpy as np
import pytest

from attn_jax.data.splits import SplitReport, assign
from attn_jax.errors import UserError


def _assign(
    labels: Any, groups: Any = None, official: Any = None, clusters: Any = None, **options: Any
) -> tuple[np.ndarray, SplitReport]:
    labels = np.asarray(labels)
    columns = [None if column is None else np.asarray(column) for column in (groups, official, clusters)]
    settings = {"seed": 0, "val": 0.15, "test": 0.15, "folds": 0, "fold": 0, **options}
    return assign(labels, *columns, classes=["a", "b", "c", "d"], **settings)


@pytest.fixture
def patients() -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    labels = random.choice(3, 300, p=[0.5, 0.35, 0.15])
    groups = np.array([f"p{number}" for number in random.integers(0, 120, 300)])
    clusters = np.arange(300)
    clusters[[10, 50, 90]] = 10
    clusters[[20, 250]] = 20
    return {"labels": labels, "groups": groups, "clusters": np.unique(clusters, return_inverse=True)[1]}


def _crossing(sides: np.ndarray, ids: np.ndarray) -> int:
    return sum(len(set(sides[ids == one]) - {"dropped"}) > 1 for one in np.unique(ids))


def test_hold_out_divides_neither_patient_nor_cluster(patients: dict[str, np.ndarray]) -> None:
    sides, report = _assign(**patients)
    assert _crossing(sides, patients["groups"]) == 0 and _crossing(sides, patients["clusters"]) == 0
    shares = [(sides == side).mean() for side in ("train", "val", "test")]
    np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.03)
    assert (report.clusters, report.clustered_images, report.largest_cluster) == (2, 5, 3)
    assert not report.official and report.dropped == 0


def test_patients_linked_by_a_duplicate_stay_together() -> None:
    labels = np.arange(40) % 2
    groups = np.repeat(np.arange(20), 2)
    clusters = np.arange(40)
    clusters[2::4] = clusters[0::4]  # links patients 0-1, 2-3, ...
    for seed in range(5):
        sides, _ = _assign(labels, groups, None, clusters, seed=seed)
        assert all(len(set(sides[at : at + 4])) == 1 for at in range(0, 40, 4))


def test_the_seed_decides() -> None:
    labels = np.arange(200) % 2
    first, again, other = (_assign(labels, seed=seed)[0] for seed in (3, 3, 4))
    assert (first == again).all() and (first != other).mean() > 0.2


def test_folds_cover_each_image_once(patients: dict[str, np.ndarray]) -> None:
    tested = np.zeros(300, int)
    for fold in range(4):
        sides, _ = _assign(**patients, folds=4, fold=fold)
        tested += sides == "test"
        assert _crossing(sides, patients["groups"]) == 0 and _crossing(sides, patients["clusters"]) == 0
        assert abs((sides == "test").mean() - 0.25) < 0.03 and abs((sides == "val").mean() - 0.15) < 0.03
        for side in ("train", "val", "test"):
            proportions = np.bincount(patients["labels"][sides == side], minlength=3) / (sides == side).sum()
            assert np.abs(proportions - np.bincount(patients["labels"]) / 300).max() < 0.06
    assert (tested == 1).all()


def test_naive_leak_is_what_a_random_split_would_have_leaked() -> None:
    labels, groups = np.arange(4000) % 2, np.repeat(np.arange(2000), 2)
    _, report = _assign(labels, groups)
    # each of the 30 % held out has its twin in training with probability 0.7
    assert abs(report.leaked_naive - 4000 * 0.3 * 0.7) < 60
    assert _assign(labels)[1].leaked_naive == 0


def test_official_split_is_kept() -> None:
    official = np.repeat(["train", "val", "test"], [100, 60, 40])
    sides, report = _assign(np.arange(200) % 2, official=official)
    assert (sides == official).all() and report.official and report.notes == ()


def test_copies_of_official_test_images_leave_training() -> None:
    official = np.repeat(["train", "val", "test"], [100, 60, 40])
    clusters = np.arange(200)
    clusters[[3, 4, 110]] = 180  # two training and one validation image are also in test
    clusters[5] = clusters[120]  # one training image is also in validation
    sides, report = _assign(np.arange(200) % 2, official=official, clusters=clusters)
    assert np.flatnonzero(sides == "dropped").tolist() == [3, 4, 5, 110]
    assert (sides[160:] == "test").all() and report.dropped == 4
    assert report.leaked_naive == 3  # 110, 120 and 180
    assert "4 images were dropped" in report.notes[0]


def test_missing_official_validation_is_carved_by_patient() -> None:
    official = np.repeat(["train", "test"], [160, 40])
    groups = np.arange(200) // 4
    sides, report = _assign(np.arange(200) // 2 % 2, groups, official)
    assert (sides[160:] == "test").all() and abs((sides[:160] == "val").mean() - 0.15) < 0.03
    assert _crossing(sides, groups) == 0 and "validation set was drawn" in report.notes[0]


def test_tiny_official_validation_is_replaced() -> None:
    official = np.repeat(["train", "val", "test"], [5216, 16, 624])  # chest-xray-pneumonia
    sides, report = _assign(np.arange(5856) % 2, official=official)
    assert abs((sides == "val").sum() - 0.15 * 5232) < 5 and (sides[-624:] == "test").all()
    assert "16 images" in report.notes[0]


def test_official_test_alone_stays_test() -> None:
    sides, report = _assign([0, 1, 0, 1], official=["test"] * 4)
    assert (sides == "test").all() and "only be tested on" in report.notes[0]


def test_official_train_alone_is_split_by_us() -> None:
    sides, report = _assign(np.arange(100) % 2, official=["train"] * 100)
    assert set(sides) == {"train", "val", "test"} and not report.official


def test_official_without_test_gets_one() -> None:
    official = np.repeat(["train", "val"], [300, 60])
    sides, _ = _assign(np.arange(360) % 2, official=official)
    assert (sides[300:] == "val").all() and abs((sides == "test").sum() - 45) < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0.5, "test": 0.5}, "leave images to train on"),
        ({"val": -0.1}, "must not be negative"),
        ({"folds": 1}, "two or more folds"),
        ({"folds": 5, "fold": 5}, "a fold below their number"),
        ({"folds": 5, "official": ["train", "test"] * 20}, "official=False"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _assign(np.arange(40) % 2, **options)
