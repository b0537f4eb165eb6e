"""Holm's adjustment against statsmodels and by hand."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from attn_jax.evaluation.multiplicity import holm


def test_is_statsmodels():
    rng = np.random.default_rng(0)
    for count in (1, 2, 9):
        p = rng.uniform(size=count) ** 3
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist(), rel=1e-12)


def test_skips_what_was_not_computed():
    # Three tests: 0.01 * 3, then 0.02 * 2, then 0.04, which may not fall below it.
    assert holm([0.04, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm([0.03, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([None]) == [None] and holm([]) == []
