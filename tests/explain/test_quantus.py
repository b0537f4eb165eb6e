"""Scores of saliency maps against Quantus, where it computes the same: the golden of tests/goldens/make_quantus.py."""

import pathlib
import runpy
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax

from attn_jax.explain import trust
from attn_jax.explain.faithfulness import Predict, deletion, insertion
from attn_jax.explain.localise import energy_in_mask, pointing
from attn_jax.explain.road import impute, road
from attn_jax.explain.similarity import spearman, ssim

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens"
RECIPE = runpy.run_path(str(GOLDENS / "make_quantus.py"))
GIVEN = RECIPE["made"](runpy.run_path(str(GOLDENS / "hash_weights.py"))["signed"])
QUANTUS = dict(np.load(GOLDENS / "quantus.npz"))


def images(name: str) -> np.ndarray:
    """Channels last."""
    return np.moveaxis(GIVEN[f"{name}/images"], 1, -1)


def probabilities(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The perceptron that Quantus was asked about."""

    def of(given: np.ndarray) -> np.ndarray:
        flat = np.moveaxis(given, -1, 1).reshape(len(given), -1)
        return softmax(np.tanh(flat @ GIVEN[f"{name}/hidden"]) @ GIVEN[f"{name}/out"], axis=1)

    return of


def of_target(name: str) -> Predict:
    network = probabilities(name)
    return lambda given: network(given)[:, RECIPE["TARGET"]]


# Float32 keeps the pixels of the images, but not those of a blurred one: Quantus rounds what it gives to the network.
@pytest.mark.parametrize(("measure", "tolerance"), [(deletion, 1e-12), (insertion, 1e-6)])
@pytest.mark.parametrize("name", RECIPE["SIZES"])
def test_deletion_and_insertion_are_pixel_flipping(
    name: str, measure: Callable[..., tuple[np.ndarray, ...]], tolerance: float
) -> None:
    golden = QUANTUS[f"{name}/{measure.__name__}"]
    steps = golden.shape[1]
    options = {"blur": RECIPE["BLUR"]} if measure is insertion else {}
    shares = np.linspace(0, 1, steps + 1)
    area, scores, _ = measure(of_target(name), images(name), GIVEN[f"{name}/maps"], shares=shares, **options)
    np.testing.assert_allclose(scores[:, 1:], golden, rtol=0, atol=tolerance)
    # Quantus' area begins after the first step, and a step is as wide as ours is with all of them.
    first = (scores[:, 0] + scores[:, 1]) / 2
    np.testing.assert_allclose(
        steps * area - first, QUANTUS[f"{name}/{measure.__name__}_area"], rtol=0, atol=10 * tolerance
    )


@pytest.mark.parametrize("label", range(RECIPE["CLASSES"]))
def test_road_of_whether_the_class_is_right_is_quantus(label: int) -> None:
    """Its ROAD is a share of images; ours has what the network says of each."""
    network = probabilities("gray")

    def right(given: np.ndarray) -> np.ndarray:
        return (network(given).argmax(axis=1) == label).astype(float)

    found = road(right, images("gray"), GIVEN["gray/maps"], percentages=RECIPE["PERCENTAGES"], noise=0)
    for order in ("morf", "lerf"):
        np.testing.assert_array_equal(getattr(found, order).mean(axis=0), QUANTUS[f"gray/road_{order}"][label])


def test_road_imputes_the_same_colours() -> None:
    filled = impute(images("colour")[:1], GIVEN["colour/maps"][:1] > 0, noise=0)
    np.testing.assert_allclose(np.moveaxis(filled[0], -1, 0), QUANTUS["colour/imputed"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("measure", "metric", "tolerance"),
    [
        (pointing, "PointingGame", 0),
        (energy_in_mask, "RelevanceMassAccuracy", 1e-12),
        (energy_in_mask, "AttributionLocalisation", 1e-9),  # adds 1e-9 to the sum
    ],
)
def test_what_lies_inside(measure: Callable[..., np.ndarray], metric: str, tolerance: float) -> None:
    found = measure(GIVEN["inside/maps"], GIVEN["inside/masks"])
    np.testing.assert_allclose(found, QUANTUS[f"inside/{metric}"], rtol=0, atol=tolerance)


def test_what_lies_inside_in_doubt() -> None:
    maps, masks = GIVEN["doubtful/maps"], GIVEN["doubtful/masks"]
    np.testing.assert_allclose(energy_in_mask(maps, masks), QUANTUS["doubtful/RelevanceMassAccuracy"], rtol=1e-12)
    # One of two highest pixels, an empty mask, a constant map: all of them hits to Quantus.
    np.testing.assert_array_equal(QUANTUS["doubtful/PointingGame"], 1)
    np.testing.assert_allclose(pointing(maps, masks), [0.5, np.nan, masks[2].mean()], rtol=1e-12)


@pytest.mark.parametrize("space", ["plane", "volume"])
def test_similarity(space: str) -> None:
    first, second = GIVEN[f"similar/{space}/first"], GIVEN[f"similar/{space}/second"]
    # Both from 0 to 1: Quantus does not stretch them, and takes the constants from the range of both together.
    np.testing.assert_allclose(ssim(first, second), QUANTUS[f"similar/{space}/ssim"], rtol=0, atol=1e-12)
    ranked = spearman(np.round(5 * first), np.round(5 * second))
    np.testing.assert_allclose(ranked, QUANTUS[f"similar/{space}/spearman"], rtol=0, atol=1e-12)


def test_randomisation_by_rank_of_absolute_maps_is_quantus() -> None:
    before, *after = np.abs(QUANTUS["randomised/maps"])
    scores = QUANTUS["randomised/scores"]
    assert len(after) == len(scores) - 1 == 3
    np.testing.assert_allclose(trust.randomisation(before, before, spearman).same, scores[0], rtol=0, atol=1e-12)
    for maps, known in zip(after, scores[1:], strict=True):
        np.testing.assert_allclose(trust.randomisation(before, maps, spearman).same, known, rtol=0, atol=1e-12)
