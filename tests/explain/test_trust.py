"""Which maps are compared with which, and that the baseline tells maps of an image from maps of any."""

import itertools

import numpy as np
import pytest

from attn_jax.errors import UserError
from attn_jax.explain.baselines import centre
from attn_jax.explain.similarity import spearman, ssim
from attn_jax.explain.trust import randomisation, repeatability, reproducibility


def told(maps_of):
    """Maps [runs, images, 1] that say whose they are, and a similarity that writes down what it is asked."""
    calls = []

    def similarity(one, other):
        calls.append((one[:, 0].tolist(), other[:, 0].tolist()))
        return one[:, 0] * 1000 + other[:, 0]

    return (
        [np.array([[[100 * run + image] for image in range(6)] for run in runs]) for runs in maps_of],
        similarity,
        calls,
    )


def check(calls, wanted, found):
    """Each pair of runs once on the same images and once on different ones, each image once; means over the pairs."""
    same, repaired = calls[::2], calls[1::2]
    assert [(one[0] // 100, other[0] // 100) for one, other in same] == wanted
    for (one, other), (first, second) in zip(same, repaired, strict=True):
        assert [value % 100 for value in one] == [value % 100 for value in other] == list(range(6))
        assert first == one and sorted(second) == other
        assert all(a % 100 != b % 100 for a, b in zip(first, second, strict=True))
    np.testing.assert_allclose(found.same, np.mean([np.multiply(a, 1000) + b for a, b in same], axis=0))
    np.testing.assert_allclose(found.repaired, np.mean([np.multiply(a, 1000) + b for a, b in repaired], axis=0))


def test_repeatability_is_over_all_pairs_of_runs():
    (runs,), similarity, calls = told([range(4)])
    check(calls, list(itertools.combinations(range(4), 2)), repeatability(runs, similarity))
    before = calls.copy()
    calls.clear()
    repeatability(runs, similarity)
    assert calls == before  # seeded
    calls.clear()
    repeatability(runs, similarity, seed=1)
    assert calls != before


def test_reproducibility_is_over_all_pairs_of_runs_of_different_networks():
    networks, similarity, calls = told([(0, 1), (2,), (3, 4)])
    found = reproducibility(networks, similarity)
    check(calls, [(0, 2), (1, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)], found)


def test_randomisation_has_maps_of_the_trained_network_for_its_baseline():
    ((before, after),), similarity, calls = told([(0, 1)])
    randomisation(before, after, similarity)
    same, repaired = calls
    assert same == (list(range(6)), list(range(100, 106)))
    assert repaired[0] == list(range(6)) and sorted(repaired[1]) == list(range(6))
    assert all(a != b for a, b in zip(*repaired, strict=True))


@pytest.mark.parametrize("similarity", [ssim, spearman])
def test_a_method_that_sees_the_image_is_told_from_one_that_sees_its_middle(similarity):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:24, :24]
    places = rng.uniform(4, 20, size=(2, 30, 1, 1))
    seen = np.exp(-((rows - places[0]) ** 2 + (columns - places[1]) ** 2) / 18)
    runs = seen + rng.normal(0, 0.02, size=(3, *seen.shape))
    seeing = repeatability(runs, similarity)
    assert seeing.same.mean() > seeing.repaired.mean() + 0.2
    blind = repeatability(centre((3, 30, 24, 24)) + rng.normal(0, 0.02, size=runs.shape), similarity)
    assert blind.same.mean() == pytest.approx(blind.repaired.mean(), abs=0.01)
    kept, lost = randomisation(runs[0], runs[1], similarity), randomisation(runs[0], rng.random(seen.shape), similarity)
    assert kept.same.mean() > kept.repaired.mean() > lost.same.mean()


def test_undefined_maps_are_left_out():
    runs = np.random.default_rng(0).random((3, 5, 9, 9))
    runs[0, 1] = 0  # one run of image 1
    runs[:, 2] = 0  # all runs of image 2
    found = repeatability(runs)
    assert found.same[1] == pytest.approx(ssim(runs[1], runs[2])[1])
    np.testing.assert_array_equal(np.isnan(found.same), [0, 0, 1, 0, 0])
    alone = randomisation(runs[0, :1], runs[1, :1])
    assert alone.same == ssim(runs[0, :1], runs[1, :1]) and np.isnan(alone.repaired).all()
    assert np.isnan(repeatability(np.zeros((2, 3, 9, 9))).same).all()


def test_mistakes():
    with pytest.raises(UserError, match="needs two runs of a network, not 1"):
        repeatability(np.ones((1, 2, 9, 9)))
    with pytest.raises(UserError, match=r"not \[1\] runs"):
        reproducibility([np.ones((1, 2, 9, 9))])
    with pytest.raises(UserError, match=r"not \[1, 0\] runs"):
        reproducibility([np.ones((1, 2, 9, 9)), np.ones((0, 2, 9, 9))])
