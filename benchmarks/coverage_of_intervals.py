"""Whether intervals cover and tests keep their level: simulated studies whose truth is known.

    python benchmarks/coverage_of_intervals.py --trials 1000

Each 95 % interval of each metric should hold the truth in 93 to 97 % of the trials, and each test at 5 % find 5 % of
differences where there is none; `simulated_studies.py` says what is simulated. Prints Markdown and writes
docs/coverage.md; 1,000 trials take about half an hour on one core.
"""

import argparse
import dataclasses
import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from simulated_studies import SPREAD, Setting, describe, few, null, nulls, settings, simulate, truths, truths_of_classes

from attn_jax.evaluation import comparing, delong, over_datasets, proportions, subgroups
from attn_jax.evaluation.equivalence import MARGIN, Compared, judge
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.metrics import METRICS
from attn_jax.evaluation.paired_tests import mcnemar, permutation, wilcoxon
from attn_jax.evaluation.panel import Panel, panels
from attn_jax.evaluation.replicates import draws as draw
from attn_jax.evaluation.replicates import judge as judge_replicates
from attn_jax.evaluation.resampled import Numbers, resample
from attn_jax.evaluation.weighted import Judged, Ranking

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
REPLICATES = 200
OVER_DATASETS = ("Iman and Davenport's F", "Nemenyi, any pair", "Wilcoxon–Holm, any pair", "to a baseline")
VERDICTS = ("equivalent", "better", "worse", "non-inferior", "inconclusive")
Share = dict[str, dict[str, float]]


def covered(
    of: Setting, trials: int, *, replicates: int = REPLICATES, as_images: bool = False
) -> tuple[Share, dict[str, float]]:
    """`[metric][interval]`, the share of trials whose interval holds the truth, and the share of trials in which a
    metric was undefined; `as_images` takes each image for a patient, whoever it shows."""
    spread = (of.spread or SPREAD) if of.seeds > 1 else 0.0
    truth = {} if few(of) else truths(of.prevalence, spread) if of.classes == 2 else truths_of_classes()
    hits: dict[str, dict[str, list[bool]]] = {}
    undefined = dict.fromkeys(METRICS, 0)
    for trial in range(trials):
        panel = simulate(np.random.default_rng([trial, of.images, of.seeds]), of)
        if few(of):
            of_metric = point(panel)
            undefined = {metric: count + np.isnan(of_metric[metric]) for metric, count in undefined.items()}
            continue
        if as_images:
            panel = dataclasses.replace(panel, cluster=np.arange(of.images))
        for metric, numbers in resample(panel, count=replicates, seed=trial)["m"].items():
            if np.isnan(numbers.value):
                undefined[metric] += 1
                continue
            for name, interval in (numbers.intervals(metric) | closed_form(panel, metric)).items():
                holds = interval is not None and interval.low <= truth[metric] <= interval.high
                hits.setdefault(metric, {}).setdefault(name, []).append(holds)
    shares = {metric: {name: float(np.mean(of)) for name, of in kinds.items()} for metric, kinds in hits.items()}
    return shares, {metric: count / trials for metric, count in undefined.items()}


def point(panel: Panel) -> dict[str, float]:
    """The metrics of a study of one run."""
    (run,) = panel.runs["m"].values()
    of = Judged(run.test, run.thresholds)(np.ones((1, len(panel.label))))
    return {metric: float(value[0]) for metric, value in of.items()}


def closed_form(panel: Panel, metric: str) -> dict[str, Interval | None]:
    """DeLong's interval of AUC and Wilson's of proportions, where they are for the setting."""
    runs = panel.runs["m"]
    truth = panel.first.label == 1
    if metric == "auc" and panel.first.binary:
        scores = np.stack([run.test.score[:, 1] for run in runs.values()])
        found = delong.areas(truth, scores, panel.cluster)
        mean = np.full(len(scores), 1 / len(scores))
        return {"DeLong": delong.interval(float(mean @ found.auc), float(mean @ found.covariance @ mean))}
    if len(runs) > 1:
        return {}
    (run,) = runs.values()
    found = proportions.of_run(panel, run, metric)
    return {"Wilson": found["wilson"]} if found else {}


def difference(panel: Panel, replicates: int, seed: int) -> comparing.Effect:
    """The first model's AUC less the second's, as `resample` has it, without the other metrics."""
    numbers = []
    for runs in panel.runs.values():
        rankings = [Ranking(panel.label == 1, run.test.score[:, 1]) for run in runs.values()]

        def areas(weights: np.ndarray, rankings: list[Ranking] = rankings) -> dict[str, np.ndarray]:
            return {str(k): ranking(weights)["auc"] for k, ranking in enumerate(rankings)}

        point = np.concatenate(list(areas(np.ones((1, len(panel.label)))).values()))
        draws = draw(np.random.default_rng(seed), panel.cluster, replicates)
        drawn = np.stack(list(judge_replicates(areas, draws, replicates).values()))
        patients = int(panel.cluster.max()) + 1
        numbers.append(Numbers(tuple(runs), point, drawn, np.zeros((len(runs), 0)), patients, (len(runs),)))
    return comparing.effect(numbers[0].minus(numbers[1]), "auc")


def rejected(of: Setting, trials: int, *, replicates: int = REPLICATES) -> dict[str, float]:
    """The share of trials in which each test finds a difference at 5 % where there is none."""
    found: dict[str, list[bool]] = {}
    for trial in range(trials):
        panel = null(np.random.default_rng([trial, of.images, of.seeds, 1]), of)
        effect = difference(panel, replicates, trial)
        exact = comparing.delong_difference(panel, "a", "b")
        right = [np.concatenate([run.right for run in panel.runs[model].values()]) for model in "ab"]
        p = {
            "t": effect.p,
            "DeLong": exact.p if exact else None,
            "McNemar": mcnemar(*right, np.tile(panel.cluster, of.seeds)).p,
            "Wilcoxon over seeds": wilcoxon(np.array(effect.seeds)).p,
        }
        p["permutation"] = permutation(panel, "a", "b", "auc", count=replicates - 1, seed=trial).p
        for name, value in p.items():
            if value is not None:
                found.setdefault(name, []).append(value < 0.05)
        found.setdefault("better or worse", []).append(_verdict(effect) in ("better", "worse"))
    return {name: float(np.mean(of)) for name, of in found.items()}


def gaps(images: int, groups: int, trials: int) -> float:
    """The share of trials in which the gap in AUC between subgroups that do not differ has p < 0.05."""
    found = []
    for trial in range(trials):
        rng = np.random.default_rng([trial, images, groups, 3])
        (run,) = simulate(rng, Setting(images, 0.5)).runs["m"].values()
        column = pd.DataFrame({"site": rng.choice(list("abcd")[:groups], images)})
        (panel,) = panels([("m", dataclasses.replace(run.test, columns=column))])
        gap = subgroups.by_column(panel, "m", "site", "auc", lower_is_better=False, count=2, seed=trial)
        found.append(gap.p is not None and gap.p < 0.05)
    return float(np.mean(found))


def wilson_of_few(patients: int, images: int, trials: int) -> float:
    """The share of trials in which Wilson's interval holds the share .7 of images of patients who agree (.3)."""
    rng = np.random.default_rng([patients, images, 4])
    held = []
    for _ in range(trials):
        own = rng.beta(0.7 * 7 / 3, 0.3 * 7 / 3, size=(patients, 1))
        hit = (rng.uniform(size=(patients, images)) < own).ravel()
        interval = proportions.clustered(hit, np.repeat(np.arange(patients), images))
        held.append(interval is not None and interval.low <= 0.7 <= interval.high)
    return float(np.mean(held))


def over_many(datasets: int, models: int, trials: int) -> dict[str, float]:
    """The share of trials in which tests over data sets tell any of equal models apart."""
    rng = np.random.default_rng([datasets, models, 5])
    found: dict[str, list[bool]] = {name: [] for name in OVER_DATASETS}
    for _ in range(trials):
        values = rng.normal(size=(datasets, 1)) + 0.1 * rng.normal(size=(datasets, models))
        of = over_datasets.compare(values, baseline=0)
        assert of.friedman.f_p is not None and of.nemenyi.p is not None and of.against_baseline is not None
        pairs = [of.all_pairs.pairs or (), of.against_baseline.pairs or ()]
        least = [min(pair.adjusted for pair in pair_of) for pair_of in pairs]
        told = (of.friedman.f_p, float(of.nemenyi.p[np.triu_indices(models, 1)].min()), *least)
        for name, p in zip(OVER_DATASETS, told, strict=True):
            found[name].append(p < 0.05)
    return {name: float(np.mean(of)) for name, of in found.items()}


def verdicts(of: Setting, trials: int, *, replicates: int = REPLICATES) -> dict[str, float]:
    """The share of trials with each verdict."""
    found = []
    for trial in range(trials):
        panel = null(np.random.default_rng([trial, of.images, of.seeds, 2]), of)
        found.append(_verdict(difference(panel, replicates, trial)))
    return {name: found.count(name) / len(found) for name in VERDICTS}


def _verdict(effect: comparing.Effect) -> str:
    if effect.value is None or effect.spread is None:
        return "none"
    (judged,) = judge([Compared(effect.value, effect.spread, effect.p)], MARGIN)
    return judged.verdict if judged else "none"


def page(trials: int, note: Callable[[str], None]) -> str:
    """All settings as Markdown."""
    error = 100 * np.sqrt(0.05 * 0.95 / trials)
    lines = [
        "# Coverage",
        "",
        f"Made by `python benchmarks/coverage_of_intervals.py`: {trials} trials a setting, {REPLICATES} replicates,"
        f" {datetime.date.today()}. A share of 5 or 95 % has a Monte Carlo standard error of {error:.1f} %.",
        "",
        "The share of simulated studies, in %, whose 95 % interval holds the truth; outside 93 to 97 in bold. Studies"
        " in which a metric is undefined are left out; their share stands last. With fewer than five expected positives"
        " it stands alone: no interval is of use there.",
        "",
    ]
    for of in settings():
        shares, undefined = covered(of, trials)
        kinds = [] if few(of) else list(dict.fromkeys(kind for found in shares.values() for kind in found))
        lines += [f"## {describe(of)}", "", *_table("metric", [*kinds, "undefined"])]
        for metric in undefined:
            cells = [_share(shares[metric][kind]) if kind in shares.get(metric, {}) else "" for kind in kinds]
            lines.append(_row(metric, [*cells, f"{100 * undefined[metric]:.1f}"]))
        lines.append("")
        note(describe(of))
    lines += ["# False positives", ""]
    lines += ["The share of studies, in %, in which a test at 5 % tells two equal models apart: in AUC, McNemar's in"]
    lines += ["decisions. DeLong's, the permutation and McNemar's test are about these trained networks: where seeds"]
    lines += [
        "spread, these differ, and to find so is no error; Wilcoxon's is about these patients, on whom equal models"
    ]
    lines += ["may differ. Better or worse is the verdict on one comparison.", ""]
    tests = ["t", "better or worse", "DeLong", "permutation", "McNemar", "Wilcoxon over seeds"]
    lines += _table("setting", tests)
    for of in nulls():
        shares = rejected(of, trials)
        lines.append(_row(describe(of), [f"{100 * shares[test]:.1f}" if test in shares else "" for test in tests]))
        note(f"null, {describe(of)}")
    lines += ["", "Of the permutation of groups, for the gap in AUC between the best and the worst of subgroups:", ""]
    lines += _table("images", ["2 groups", "4 groups"])
    for images in (200, 1000):
        lines.append(_row(str(images), [f"{100 * gaps(images, groups, trials):.1f}" for groups in (2, 4)]))
    note("gaps between subgroups")
    lines += ["", "Of the tests over data sets, each of them of all models at once:", ""]
    lines += _table("data sets", list(OVER_DATASETS))
    for datasets, models in ((5, 3), (5, 6), (10, 3), (10, 6)):
        shares = over_many(datasets, models, trials)
        cells = [f"{100 * shares[name]:.1f}" for name in OVER_DATASETS]
        lines.append(_row(f"{datasets}, {models} models", cells))
    note("over data sets")
    lines += ["", "# Few patients with several images", ""]
    lines += ["The share of studies, in %, in which Wilson's interval holds a share of .7 of images, of which those of"]
    lines += ["a patient agree with an intraclass correlation of .3. Of very few patients it is wider than needed.", ""]
    lines += _table("patients", ["4 images each", "20 images each"])
    for patients in (3, 5, 10, 20, 50):
        cells = [_share(wilson_of_few(patients, images, trials)) for images in (4, 20)]
        lines.append(_row(str(patients), cells))
    lines += ["", "# Verdicts at the margin", ""]
    lines += [
        f"The share of studies, in %, with each verdict on a model that is worse by {MARGIN:g} in AUC: equivalent"
    ]
    lines += ["or non-inferior, each tested at 2.5 %, are errors.", "", *_table("setting", list(VERDICTS))]
    for of in (Setting(4000, 0.5, less=MARGIN), Setting(1000, 0.5, 1, 3, 0.005, MARGIN)):
        shares = verdicts(of, trials)
        lines.append(_row(describe(of), [f"{100 * shares[verdict]:.1f}" for verdict in VERDICTS]))
        note(f"at the margin, {describe(of)}")
    return "\n".join(lines) + "\n"


def _table(first: str, columns: list[str]) -> list[str]:
    return [_row(first, columns), f"| --- |{' ---: |' * len(columns)}"]


def _row(first: str, cells: list[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"


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
