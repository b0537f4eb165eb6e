"""Whether intervals cover and tests keep their level: simulated studies whose truth is known.

    python benchmarks/coverage_of_intervals.py --trials 1000

Each 95 % interval of each metric should hold the truth in 93 to 97 % of the trials, and each test at 5 % find 5 % of
differences where there is none; `simulated_studies.py` says what is simulated. Prints Markdown and writes
docs/coverage.md; 1,000 trials take about 11 minutes on one core.
"""

import argparse
import dataclasses
import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
from simulated_studies import Setting, describe, few, null, nulls, settings, simulate, truths

from attn_jax.evaluation import comparing, delong, proportions
from attn_jax.evaluation.equivalence import MARGIN, Compared, judge
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.metrics import METRICS
from attn_jax.evaluation.paired_tests import mcnemar, permutation, wilcoxon
from attn_jax.evaluation.panel import Panel
from attn_jax.evaluation.replicates import draws as draw
from attn_jax.evaluation.replicates import judge as judge_replicates
from attn_jax.evaluation.resampled import Numbers, resample
from attn_jax.evaluation.weighted import Judged, Ranking

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
REPLICATES = 200
VERDICTS = ("equivalent", "better", "worse", "non-inferior", "inconclusive")
Share = dict[str, dict[str, float]]


def covered(
    of: Setting, trials: int, *, replicates: int = REPLICATES, as_images: bool = False
) -> tuple[Share, dict[str, float]]:
    """`[metric][interval]`, the share of trials whose interval holds the truth, and the share of trials in which a
    metric was undefined; `as_images` takes each image for a patient, whoever it shows."""
    truth = {} if few(of) else truths(of.prevalence, seeds=of.seeds > 1)
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
    if metric == "auc":
        scores = np.stack([run.test.score[:, 1] for run in runs.values()])
        found = delong.areas(truth, scores, panel.cluster)
        mean = np.full(len(scores), 1 / len(scores))
        return {"DeLong": delong.interval(float(mean @ found.auc), float(mean @ found.covariance @ mean))}
    if metric in ("accuracy", "sensitivity", "specificity") and len(runs) == 1 and panel.patients == len(truth):
        (run,) = runs.values()
        return {"Wilson": proportions.of_run(panel, run, metric)["wilson"]}
    return {}


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
        if of.seeds == 1:
            p["permutation"] = permutation(panel, "a", "b", "auc", count=replicates - 1, seed=trial).p
        for name, value in p.items():
            if value is not None:
                found.setdefault(name, []).append(value < 0.05)
        found.setdefault("better or worse", []).append(_verdict(effect) in ("better", "worse"))
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
