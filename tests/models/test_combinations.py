"""A set of combinations in which each pair of choices (mechanism, network, placement, stages) that there can be occurs:
each builds and has a gradient."""

import itertools

import combinations as product
import pytest

from attn_jax.attention import MECHANISMS

EXAMPLES = {"block": "cbam", "stage": "bam", "conv": "split"}


def in_resnet18():
    """What test_combinations_run.py runs: each mechanism in its usual place."""
    return [(mechanism, "resnet18", product.FITTING[mechanism][0], "usual") for mechanism in MECHANISMS]


def covering():
    """Dealt out like cards: the first two choices need their whole product, which leaves room for the others."""
    networks = [network for network in product.NETWORKS if network != "resnet18"]
    for (i, mechanism), (j, network) in itertools.product(enumerate(MECHANISMS), enumerate(networks)):
        placements = product.FITTING[mechanism]
        turn, place = divmod(i + j, len(placements))
        yield mechanism, network, placements[place], list(product.STAGES)[turn % len(product.STAGES)]
    for (placement, mechanism), stages in itertools.product(EXAMPLES.items(), product.STAGES):
        yield mechanism, "resnet18", placement, stages


def pairs(rows):
    return {(i, row[i], j, row[j]) for row in rows for i, j in itertools.combinations(range(4), 2)}


@pytest.fixture(scope="module", autouse=True)
def quick():
    with product.quick_tracing():
        yield


def test_every_pair_is_covered():
    assert pairs([*covering(), *in_resnet18()]) == pairs(product.PRODUCT)
    short = [row for place, row in enumerate(covering()) if often(place)]
    assert {row[0] for row in short} == set(MECHANISMS) and {row[1] for row in short} == set(product.NETWORKS)


def often(place):
    """Every sixth is in the short suite, one network further with each mechanism, so that all networks have a turn."""
    return sum(divmod(place, len(product.NETWORKS) - 1)) % 6 == 0


ROWS = [
    pytest.param(row, id="-".join(row), marks=[] if often(place) else [pytest.mark.full])
    for place, row in enumerate(covering())
]


@pytest.mark.parametrize("row", ROWS)
def test_has_a_gradient(row):
    product.trace(row)
