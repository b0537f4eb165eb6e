"""Exchanges keep what they must: patients together, and how often each group has each label."""

import numpy as np
import pytest

from attn_jax.evaluation.exchange import Exchange


def counts(group, label):
    return np.array([[np.sum((group == g) & (label == k)) for k in range(2)] for g in range(3)])


def test_patients_take_their_images_along():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(40), 2)
    label, group = np.repeat(rng.integers(0, 2, 40), 2), np.repeat(rng.integers(0, 3, 40), 2)
    found = Exchange(cluster, label, group)(rng, 200)
    assert (found[:, ::2] == found[:, 1::2]).all() and len(np.unique(found, axis=0)) > 190
    for row in found:
        np.testing.assert_array_equal(counts(row, label), counts(group, label))
    # Every patient comes into every group as often as its label does.
    first = label[::2] == label[0]
    share = np.mean(group[::2][first] == 1)
    assert np.mean(found[:, 0] == 1) == pytest.approx(share, abs=0.12)


def test_groups_within_patients_exchange_within_labels():
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(30), rng.integers(1, 4, 30))
    shuffled = rng.permutation(len(cluster))
    cluster = cluster[shuffled]
    label, group = rng.integers(0, 2, len(cluster)), rng.integers(0, 3, len(cluster))
    found = Exchange(cluster, label, group)(rng, 100)
    patterns = {c: tuple(np.bincount(label[cluster == c], minlength=2)) for c in range(30)}

    def held(groups):
        """Of patients alike, the sets of groups that their images of each label have."""
        return sorted(
            (patterns[c], *(tuple(sorted(groups[(cluster == c) & (label == k)].tolist())) for k in range(2)))
            for c in range(30)
        )

    for row in found:
        assert held(row) == held(group)
    assert len(np.unique(found, axis=0)) > 90
