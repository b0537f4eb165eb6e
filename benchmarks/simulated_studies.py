"""Simulated studies whose truth is known, for `coverage_of_intervals.py`.

Scores are logistic functions of normal ones of unit variance and means apart by 1.2 (an AUC of .80), calibrated where
half are positive; decisions fall at 0.5. The truth of other metrics than AUC is that of a million images.

- `images`: each image is a patient, one seed.
- `patients`: each patient has four images, which agree (an intraclass correlation of .5 of scores), one seed.
- `classes`: three of them, six, three and one in ten images, whose logits are normal and the truth's higher by 1.5.
- `seeds`: three or ten seeds, whose models' AUC spreads by an sd of .02 (or `spread`), and patients with one image.

The null: two models alike in expectation on the same images, whose scores share half their noise; a quarter is each
model's, a quarter each run's. Where seeds spread, the AUC of each run does by an sd of .03 or .06.
At the margin: the same, but one model is worse by .02 in AUC, the margin: to call it equivalent is an error.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from attn_jax.evaluation.panel import Panel, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.weighted import Judged, Question

APART, SPREAD = 1.2, 0.02
AUC_BY_APART = float(stats.norm.pdf(APART / np.sqrt(2)) / np.sqrt(2))
LEAST_POSITIVES = 5
CLASSES = ("healthy", "ill")
SHARES, GAIN = (0.6, 0.3, 0.1), 1.5


class Setting(NamedTuple):
    """What is simulated; `spread` is the sd of AUC over seeds, `less` the AUC that the second of two models lacks."""

    images: int
    prevalence: float
    patients_have: int = 1
    seeds: int = 1
    spread: float = 0.0
    less: float = 0.0
    classes: int = 2


def settings() -> Iterator[Setting]:
    """Those of the coverage of intervals; of too few expected positives only the undefined share is told."""
    for images in (50, 200, 1000):
        for prevalence in (0.01, 0.1, 0.5):
            yield Setting(images, prevalence)
    yield Setting(200, 0.5, patients_have=4)
    yield Setting(1000, 0.1, patients_have=4)
    yield Setting(200, 0.1, classes=3)
    yield Setting(1000, 0.1, classes=3)
    yield Setting(200, 0.5, seeds=3)
    yield Setting(200, 0.5, seeds=10)
    yield Setting(1000, 0.5, seeds=3, spread=0.1)


def nulls() -> Iterator[Setting]:
    """Those of two models without a difference."""
    yield from (of for of in settings() if of.seeds == 1 and of.classes == 2 and not few(of))
    for seeds in (2, 3, 10):
        yield from (Setting(200, 0.5, seeds=seeds, spread=spread) for spread in (0.0, 0.03, 0.06))


def few(of: Setting) -> bool:
    """Whether fewer than five positive images are expected."""
    return of.images * of.prevalence < LEAST_POSITIVES


def describe(of: Setting) -> str:
    """A setting in words."""
    kinds = (
        f"{of.prevalence:.0%} positive" if of.classes == 2 else f"{of.classes} classes, {of.prevalence:.0%} the rarest"
    )
    words = f"{of.images} images, {kinds}"
    words += f", {of.patients_have} a patient" if of.patients_have > 1 else ""
    words += f", {of.seeds} seeds" if of.seeds > 1 else ""
    return words + (f" that spread by {of.spread:g}" if of.spread else "")


def probabilities(normal: np.ndarray) -> np.ndarray:
    """Calibrated at a prevalence of one half."""
    return special.expit(APART * normal)


def simulate(rng: np.random.Generator, of: Setting) -> Panel:
    """One study of one model."""
    if of.classes > 2:
        return panels([("0", several_classes(rng, of.images))])[0]
    patients = of.images // of.patients_have
    truth = np.repeat(rng.uniform(size=patients) < of.prevalence, of.patients_have)
    own = np.repeat(rng.normal(size=patients), of.patients_have)
    noise = np.sqrt(0.5) * (own + rng.normal(size=of.images)) if of.patients_have > 1 else own
    group = np.repeat(np.arange(patients), of.patients_have).astype(str)
    sources = []
    for seed in range(of.seeds):
        apart = APART + (rng.normal(0, (of.spread or SPREAD) / AUC_BY_APART) if of.seeds > 1 else 0)
        # Seeds share what makes an image hard, and differ by a third of the noise.
        mixed = noise if of.seeds == 1 else np.sqrt(2 / 3) * noise + np.sqrt(1 / 3) * rng.normal(size=of.images)
        sources.append((str(seed), predictions(truth, mixed + apart * (truth - 0.5), str(seed), group)))
    (panel,) = panels(sources)
    return panel


def several_classes(rng: np.random.Generator, images: int) -> Predictions:
    """Of one run, `SHARES` of whose images are of each class."""
    truth = rng.choice(len(SHARES), size=images, p=SHARES)
    score = special.softmax(rng.normal(size=(images, len(SHARES))) + GAIN * np.eye(len(SHARES))[truth], axis=1)
    return Predictions(np.arange(images), truth, score, ("a", "b", "c"), model="m", seed="0")


def predictions(truth: np.ndarray, normal: np.ndarray, seed: str, group: np.ndarray, model: str = "m") -> Predictions:
    """Of one run."""
    score = probabilities(normal)
    ids = np.arange(len(truth))
    pair = np.stack([1 - score, score], axis=1)
    return Predictions(ids, truth.astype(int), pair, CLASSES, group=group, model=model, seed=seed)


@functools.cache
def truths_of_classes() -> dict[str, float]:
    """The metrics of the population of `several_classes`."""
    found = Judged(several_classes(np.random.default_rng(123), 1_000_000), {})(np.ones((1, 1_000_000)))
    return {metric: float(value[0]) for metric, value in found.items()}


@functools.cache
def truths(prevalence: float, spread: float = 0.0) -> dict[str, float]:
    """The metrics of the population; where seeds spread, their mean over seeds (Gauss and Hermite's quadrature)."""
    rng = np.random.default_rng(123)
    count = 250_000
    truth = np.arange(count) < round(prevalence * count)
    nodes, weights = np.polynomial.hermite_e.hermegauss(5) if spread else (np.zeros(4), np.ones(4))
    found = []
    for node in nodes:
        normal = rng.normal(size=count) + (APART + spread / AUC_BY_APART * node) * (truth - 0.5)
        score = probabilities(normal)
        found.append(Question(truth, score, score >= 0.5)(np.ones((1, count))))
    means = {name: float(np.average([of[name][0] for of in found], weights=weights)) for name in found[0]}
    auc = stats.norm.cdf((APART + spread / AUC_BY_APART * nodes) / np.sqrt(2))
    return means | {"auc": float(np.average(auc, weights=weights))}


def null(rng: np.random.Generator, of: Setting) -> Panel:
    """One study of two models that are alike but for noise of their own, and for `of.less`."""
    patients = of.images // of.patients_have
    truth = np.repeat(rng.uniform(size=patients) < of.prevalence, of.patients_have)
    group = np.repeat(np.arange(patients), of.patients_have).astype(str)

    def noise() -> np.ndarray:
        own = np.repeat(rng.normal(size=patients), of.patients_have)
        return np.sqrt(0.5) * (own + rng.normal(size=of.images)) if of.patients_have > 1 else own

    shared = noise()
    sources = []
    for model, less in (("a", of.less), ("b", 0.0)):
        model_noise = noise()
        for seed in range(of.seeds):
            apart = APART + (rng.normal(0, of.spread) - less) / AUC_BY_APART
            normal = np.sqrt(0.5) * shared + 0.5 * (model_noise + noise()) + apart * (truth - 0.5)
            sources.append((model, predictions(truth, normal, str(seed), group, model)))
    (panel,) = panels(sources)
    return panel
