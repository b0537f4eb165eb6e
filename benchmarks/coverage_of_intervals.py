"""Whether intervals cover and tests keep their level: simulated studies whose truth is known.

    python benchmarks/coverage_of_intervals.py --trials 1000

Each 95 % interval of each metric should hold the truth in 93 to 97 % of the trials. Scores are logistic functions of
normal ones of unit variance and means apart by 1.2 (an AUC of .80), calibrated where half are positive; decisions fall
at 0.5.
The truth of other metrics than AUC is that of four million images. Prints Markdown and writes docs/coverage.md.

- `images`: each image is a patient, one seed.
- `patients`: each patient has four images, which agree (an intraclass correlation of .5 of scores), one seed.
- `seeds`: three or ten seeds, whose models' discrimination spreads by an sd of .02 in AUC, and patients with one image.

The null: two models alike in expectation on the same images, whose scores share half their noise.
"""

import argparse
import dataclasses
import datetime
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from attn_jax.evaluation import comparing, delong
from attn_jax.evaluation.evidence import PROPORTIONS
from attn_jax.evaluation.intervals import Interval, wilson
from attn_jax.evaluation.paired_tests import mcnemar, permutation, wilcoxon
from attn_jax.evaluation.panel import Panel, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.resampled import BY, METHODS, paired, resample
from attn_jax.evaluation.weighted import Question

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
APART, SPREAD = 1.2, 0.09
LEAST_POSITIVES = 5
CLASSES = ("healthy", "ill")
Share = dict[str, dict[str, float]]


class Setting(NamedTuple):
    """What is simulated."""

    images: int
    prevalence: float
    patients_have: int = 1
    seeds: int = 1


def settings() -> Iterator[Setting]:
    """Those of the page; fewer than five expected positives are left out."""
    for images in (50, 200, 1000):
        for prevalence in (0.01, 0.1, 0.5):
            if images * prevalence >= LEAST_POSITIVES:
                yield Setting(images, prevalence)
    yield Setting(200, 0.5, patients_have=4)
    yield Setting(1000, 0.1, patients_have=4)
    yield Setting(200, 0.5, seeds=3)
    yield Setting(200, 0.5, seeds=10)


def probabilities(normal: np.ndarray) -> np.ndarray:
    """Calibrated at a prevalence of one half."""
    return special.expit(APART * normal)


def simulate(rng: np.random.Generator, of: Setting) -> Panel:
    """One study of one model."""
    patients = of.images // of.patients_have
    truth = np.repeat(rng.uniform(size=patients) < of.prevalence, of.patients_have)
    own = np.repeat(rng.normal(size=patients), of.patients_have)
    noise = np.sqrt(0.5) * (own + rng.normal(size=of.images)) if of.patients_have > 1 else own
    group = np.repeat(np.arange(patients), of.patients_have).astype(str)
    sources = []
    for seed in range(of.seeds):
        apart = APART + (rng.normal(0, SPREAD) if of.seeds > 1 else 0)
        # Seeds share what makes an image hard, and differ by a third of the noise.
        mixed = noise if of.seeds == 1 else np.sqrt(2 / 3) * noise + np.sqrt(1 / 3) * rng.normal(size=of.images)
        sources.append((str(seed), predictions(truth, mixed + apart * (truth - 0.5), str(seed), group)))
    (panel,) = panels(sources)
    return panel


def predictions(truth: np.ndarray, normal: np.ndarray, seed: str, group: np.ndarray, model: str = "m") -> Predictions:
    """Of one run."""
    score = probabilities(normal)
    ids = np.arange(len(truth))
    pair = np.stack([1 - score, score], axis=1)
    return Predictions(ids, truth.astype(int), pair, CLASSES, group=group, model=model, seed=seed)


@functools.cache
def truths(prevalence: float, *, seeds: bool = False) -> dict[str, float]:
    """The metrics of the population; where seeds spread, their mean over seeds (Gauss and Hermite's quadrature)."""
    rng = np.random.default_rng(123)
    count = 1_000_000
    truth = np.arange(count) < round(prevalence * count)
    nodes, weights = np.polynomial.hermite_e.hermegauss(5) if seeds else (np.zeros(4), np.ones(4))
    found = []
    for node in nodes:
        normal = rng.normal(size=count) + (APART + SPREAD * node) * (truth - 0.5)
        score = probabilities(normal)
        found.append(Question(truth, score, score >= 0.5)(np.ones((1, count))))
    means = {name: float(np.average([of[name][0] for of in found], weights=weights)) for name in found[0]}
    auc = stats.norm.cdf((APART + SPREAD * nodes * seeds) / np.sqrt(2))
    return means | {"auc": float(np.average(auc, weights=weights))}


def covered(
    of: Setting, trials: int, *, replicates: int = 1000, as_images: bool = False
) -> tuple[Share, dict[str, float]]:
    """`[metric][interval]`, the share of trials whose interval holds the truth, and the share of trials in which a
    metric was undefined; `as_images` takes each image for a patient, whoever it shows."""
    truth = truths(of.prevalence, seeds=of.seeds > 1)
    hits: dict[str, dict[str, list[bool]]] = {}
    undefined = dict.fromkeys(truth, 0)
    for trial in range(trials):
        panel = simulate(np.random.default_rng([trial, of.images, of.seeds]), of)
        if as_images:
            panel = dataclasses.replace(panel, cluster=np.arange(of.images))
        for metric, numbers in resample(panel, count=replicates, seed=trial)["m"].items():
            if np.isnan(numbers.value):
                undefined[metric] += 1
                continue
            bys = BY if of.seeds > 1 else BY[:1]
            intervals = {f"{by} {method}": numbers.interval(by, method) for by in bys for method in METHODS}
            intervals |= closed_form(panel, metric)
            for name, interval in intervals.items():
                holds = interval is not None and interval.low <= truth[metric] <= interval.high
                hits.setdefault(metric, {}).setdefault(name, []).append(holds)
    shares = {metric: {name: float(np.mean(of)) for name, of in kinds.items()} for metric, kinds in hits.items()}
    return shares, {metric: count / trials for metric, count in undefined.items()}


def closed_form(panel: Panel, metric: str) -> dict[str, Interval | None]:
    """DeLong's interval of AUC and Wilson's of proportions, where they are for the setting."""
    runs = panel.runs["m"]
    truth = panel.first.label == 1
    if metric == "auc":
        scores = np.stack([run.test.score[:, 1] for run in runs.values()])
        found = delong.areas(truth, scores, panel.cluster)
        mean = np.full(len(scores), 1 / len(scores))
        return {"DeLong": delong.interval(float(mean @ found.auc), float(mean @ found.covariance @ mean))}
    if metric in PROPORTIONS and len(runs) == 1 and panel.patients == len(truth):
        (run,) = runs.values()
        rows = {"accuracy": np.ones_like(truth), "sensitivity": truth, "specificity": ~truth}[metric]
        return {"Wilson": wilson(int(run.right[rows].sum()), int(rows.sum()))}
    return {}


def null(rng: np.random.Generator, of: Setting) -> Panel:
    """One study of two models that are alike but for noise of their own."""
    patients = of.images // of.patients_have
    truth = np.repeat(rng.uniform(size=patients) < of.prevalence, of.patients_have)
    group = np.repeat(np.arange(patients), of.patients_have).astype(str)

    def noise() -> np.ndarray:
        own = np.repeat(rng.normal(size=patients), of.patients_have)
        return np.sqrt(0.5) * (own + rng.normal(size=of.images)) if of.patients_have > 1 else own

    shared = noise()
    sources = []
    for model in "ab":
        for seed in range(of.seeds):
            normal = np.sqrt(0.5) * (shared + noise()) + APART * (truth - 0.5)
            sources.append((model, predictions(truth, normal, str(seed), group, model)))
    (panel,) = panels(sources)
    return panel


def rejected(of: Setting, trials: int, *, replicates: int = 999) -> dict[str, float]:
    """The share of trials in which each test finds a difference at 5 % where there is none."""
    found: dict[str, list[bool]] = {}
    for trial in range(trials):
        panel = null(np.random.default_rng([trial, of.images, of.seeds, 1]), of)
        measured = resample(panel, count=replicates, seed=trial)
        difference = paired(panel, measured, "a", "b", "auc")
        exact = comparing.delong_difference(panel, "a", "b")
        right = [np.concatenate([run.right for run in panel.runs[model].values()]) for model in "ab"]
        swaps = permutation(panel, "a", "b", "auc", count=replicates, seed=trial)
        effect = comparing.effect(difference, "auc")
        p = {
            "bootstrap": effect.p,
            "DeLong": exact.p if exact else None,
            "permutation": swaps.p,
            "McNemar": mcnemar(*right, np.tile(panel.cluster, of.seeds)).p,
            "Wilcoxon over seeds": wilcoxon(np.array(effect.seeds)).p,
        }
        for name, value in p.items():
            if value is not None:
                found.setdefault(name, []).append(value < 0.05)
        for method in METHODS:
            ends = effect.intervals.get(f"{BY[of.seeds > 1]} {method}")
            if ends is not None:
                found.setdefault(f"interval, {method}", []).append(not ends.low <= 0 <= ends.high)
    return {name: float(np.mean(of)) for name, of in found.items()}


def describe(of: Setting) -> str:
    """A setting in words."""
    words = f"{of.images} images, {of.prevalence:.0%} positive"
    words += f", {of.patients_have} a patient" if of.patients_have > 1 else ""
    return words + (f", {of.seeds} seeds" if of.seeds > 1 else "")


def page(trials: int, note: Callable[[str], None]) -> str:
    """All settings as Markdown."""
    lines = [
        "# Coverage",
        "",
        f"Made by `python benchmarks/coverage_of_intervals.py`: {trials} trials a setting, {datetime.date.today()}.",
    ]
    lines += [
        "",
        "The share of simulated studies, in %, whose 95 % interval holds the truth; outside 93 to 97 in bold.",
        "",
    ]
    for of in settings():
        shares, undefined = covered(of, trials)
        kinds = list(dict.fromkeys(kind for found in shares.values() for kind in found))
        lines += [
            f"## {describe(of)}",
            "",
            f"| metric | {' | '.join(kinds)} | undefined |",
            f"| --- |{' ---: |' * (len(kinds) + 1)}",
        ]
        for metric, found in shares.items():
            cells = [_share(found[kind]) if kind in found else "" for kind in kinds]
            lines.append(f"| {metric} | {' | '.join(cells)} | {100 * undefined[metric]:.1f} |")
        lines.append("")
        note(describe(of))
    lines += [
        "# False positives",
        "",
        "The share of studies, in %, in which a test at 5 % tells two equal models apart.",
        "",
    ]
    tests = (*(f"interval, {method}" for method in METHODS), "bootstrap", "DeLong", "permutation", "McNemar")
    tests += ("Wilcoxon over seeds",)
    lines += [f"| setting | {' | '.join(tests)} |", f"| --- |{' ---: |' * len(tests)}"]
    for of in settings():
        shares = rejected(of, trials)
        cells = [f"{100 * shares[test]:.1f}" if test in shares else "" for test in tests]
        lines.append(f"| {describe(of)} | {' | '.join(cells)} |")
        note(f"null, {describe(of)}")
    return "\n".join(lines) + "\n"


def _share(value: float) -> str:
    text = f"{100 * value:.1f}"
    return text if 0.93 <= value <= 0.97 else f"**{text}**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args()
    text = page(options.trials, lambda line: print(f"# {line}", flush=True))
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
