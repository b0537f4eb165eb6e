"""Does the saliency scorecard know a good network from a bad one? Three whose grounds are known are judged by it.

    taskset -c 0 python benchmarks/scorecard_phantoms.py

One network learns the lesions of simulated radiographs, one a tag that gives the label away (see configs/shortcut.py),
one nothing: it keeps its initial weights. All explain the positive class of the same positive test images, on which the
tag says nothing about the label. What a score claims depends on what it asks (`CLAIMS`).

Writes docs/scorecard.md and prints it; about 15 minutes on one core. Ends without a page where the networks are not
what they should be: one that learnt lesions tells positive images from negative ones, one that learnt the tag does not.
"""

import argparse
import datetime
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from mechanism_time import processor
from ml_collections import ConfigDict

from attn_jax.command_line import tune_cpu

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scorecard.md"
NETWORKS = ("lesion", "shortcut", "untrained")
PAIRS = (("lesion", "shortcut"), ("shortcut", "untrained"), ("lesion", "untrained"))
LEAST_LESION, MOST_SHORTCUT = 0.85, 0.65
REPLICATES = 2000
MASK, TRAINED = (PAIRS[0], PAIRS[2]), (PAIRS[1], PAIRS[2])
CLAIMS = {MASK: "lesion above both", TRAINED: "both trained above untrained"}
PACKAGES = ("attn_jax", "jax", "flax", "numpy")

HEAD = """# Which scores tell a good network from a bad one

Made by `python benchmarks/scorecard_phantoms.py`; never edited by hand.

Three kinds of network are judged by the scorecard ([saliency.md](saliency.md)): one learnt the **lesion**s of simulated
radiographs, one a tag that gives the label away (**shortcut**), one nothing (**untrained**: its initial weights). All
explain the positive class of the same positive test images, on which the tag says nothing about the label.

- A score that needs a **mask** should rank the lesion network above both others.
- A map of the shortcut that shows the tag is as faithful as one of the lesion that shows the lesion. So a score that
  needs the **network**, repeatability and randomisation should rank both trained networks above the untrained one.
- **claim**: *passes*, the 95 % intervals (percentile, over patients) of the differences it is about lie above 0; *mean
  only*, the differences do; *fails*, one of them does not. **full order**: the same of lesion > shortcut > untrained,
  which no score has to keep.
- Differences are signed so that above 0 is better, and over the images that both networks have a value of: a map that
  is the same everywhere is like no other. Behind a mean stands the number of images that have a value.
- The baselines (the middle of the image, its edges, random numbers, the mask itself) are those of the lesion networks.

{facts}
"""


class Score(NamedTuple):
    """A score, whether higher is better, and the differences that its claim is about."""

    metric: str
    title: str
    higher: bool
    claim: tuple[tuple[str, str], tuple[str, str]]


def make_config(images: int, epochs: int, seeds: int) -> ConfigDict:
    """Both data sets, many test images, a quarter-width ResNet-18 at 64 px."""
    from attn_jax.study.defaults import default_config

    config = default_config()
    config.name = "scorecard_phantoms"
    config.data.update(dict(name="phantom", source="phantom", image_size=64, channels=1, phantom=dict(images=images)))
    config.data.split.test = 0.35
    config.datasets.lesion = {"phantom": {"shortcut": 0.0}}
    config.datasets.shortcut = {"phantom": {"shortcut": 1.0}}
    config.model.update(dict(width=0.25, stem="small"))
    config.optim.learning_rate = 2e-3
    config.training.epochs = epochs
    config.training.metric = "loss"  # the shortcut's AUC is 1 long before its network is sure of anything
    config.explain.update(dict(methods=(), gallery=0))
    config.report.pictures = False
    config.grid.update(dict(dataset=("lesion", "shortcut"), attention=("none",), seed=tuple(range(seeds))))
    return config


def networks(config: ConfigDict, workdir: Path) -> tuple[list[tuple[str, int, Any]], dict[str, list[float]]]:
    """Trains; each network's name, seed and what it is asked about (`Asked`), and their AUCs on the test images."""
    from sklearn.metrics import roc_auc_score

    from attn_jax import study
    from attn_jax.study.build import make_parts
    from attn_jax.study.runner import Datasets, plan
    from attn_jax.study.scoring import Asked
    from attn_jax.study.train import predict_rows
    from attn_jax.study.trained import data_facts, load_model

    if study.run(config, workdir):
        raise SystemExit("a training failed")
    datasets = Datasets(workdir / "cache")
    cells = plan(config, workdir, datasets)
    shown = datasets.of(config, next(cell.point for cell in cells if cell.dataset == "shortcut"))[1]
    rows = shown.rows("test")
    ill = shown.labels[rows] == shown.positive
    found: list[tuple[str, int, Any]] = []
    aucs: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for cell in cells:
        data = datasets.of(config, cell.point)[1]
        trained = {cell.dataset: load_model(cell.config, data_facts(data), cell.folder)}
        if cell.dataset == "lesion":
            parts = make_parts(cell.config, data)
            names = ("params", "batch_stats", "constants")
            trained["untrained"] = parts.model, parts.task, {name: getattr(parts.state, name) for name in names}
        for name, (model, task, variables) in trained.items():
            predicted = predict_rows(model, task, variables, shown.images, rows)[:, shown.positive]
            aucs[name].append(roc_auc_score(ill, predicted))
            targets = np.full(ill.sum(), shown.positive)
            found.append((name, cell.config.seed, Asked(model, task, variables, shown, rows[ill], targets)))
    return found, aucs


def judged(found: Sequence[tuple[str, int, Any]], methods: Sequence[str], count: int) -> pd.DataFrame:
    """The scores of every network and seed."""
    from attn_jax import progress
    from attn_jax.explain.similarity import spearman, ssim
    from attn_jax.explain.trust import repeatability
    from attn_jax.study.scoring import scores

    frames: list[pd.DataFrame] = []
    looks: dict[tuple[str, str], list[np.ndarray]] = {}
    for name, seed, of in progress.track(found, "scoring", len(found)):
        scored = scores(of, methods, count)
        if scored.missing:
            raise SystemExit("; ".join(f"{method}: {why}" for method, why in scored.missing.items()))
        frames.append(scored.table.assign(network=name, seed=seed))
        for method, raw in scored.looks.items():
            looks.setdefault((name, method), []).append(of.at_size(raw))
    named = scored.table.drop_duplicates("image_id").set_index("image_id")["group"]
    ids = of.data.image_ids[of.rows[scored.few]]
    for (name, method), runs in looks.items():
        for measure, similarity in (("ssim", ssim), ("spearman", spearman)) if len(runs) > 1 else ():
            alike = repeatability(np.stack(runs), similarity).same
            frame = {"image_id": ids, "group": named[ids].to_numpy(), "method": method, "network": name, "seed": 0}
            frames.append(pd.DataFrame(frame | {"metric": f"repeatability_{measure}", "value": alike}))
    return pd.concat(frames, ignore_index=True)


def wanted(table: pd.DataFrame) -> list[Score]:
    """The scores of the page, in its order."""
    from attn_jax.explain.scorecard import METRICS

    found = []
    for metric, of in METRICS.items():
        gain = f"{metric}_gain" in set(table["metric"])
        name, title = (f"{metric}_gain", f"{of.title}, gain over random") if gain else (metric, of.title)
        found.append(Score(name, title, gain or of.higher_is_better, MASK if of.needs == "masks" else TRAINED))
    last = [m for m in table["metric"].unique() if m.startswith("randomised_ssim/") and not m.endswith("repaired")][-1]
    for measure, words in (("ssim", "SSIM"), ("spearman", "Spearman")):
        layer = last.partition("/")[2]
        found.append(Score(f"randomised_{measure}/{layer}", f"Randomised, {words} (lower is better)", False, TRAINED))
        found.append(Score(f"repeatability_{measure}", f"Repeatability, {words}", True, TRAINED))
    return [score for score in found if score.metric in set(table["metric"])]


def row(table: pd.DataFrame, method: str, score: Score) -> list[str]:
    """One line: each mean, their differences with intervals, and what they say."""
    from attn_jax.evaluation.replicates import clusters
    from attn_jax.evaluation.weighted_means import weighted_means
    from attn_jax.explain.scorecard import BASELINES

    part = table[(table["metric"] == score.metric) & table["method"].isin((method, *BASELINES))]
    wide = part.pivot(index="image_id", columns=["method", "network", "seed"], values="value")
    group = part.drop_duplicates("image_id").set_index("image_id")["group"].loc[wide.index].to_numpy()
    values = wide.to_numpy(dtype=float)
    patients = clusters(group, len(group))
    means = weighted_means(values, patients, REPLICATES)

    def columns(of: str, network: str) -> np.ndarray:
        return np.array([at for at, name in enumerate(wide.columns) if name[:2] == (of, network)], dtype=np.intp)

    def mean(of: str, network: str) -> str:
        places = columns(of, network)
        images = (~np.isnan(values[:, places])).any(axis=1).sum()
        return f"{means.over(places)[0]:.3f} ({images})" if len(places) else ""

    shown, apart = [], {}
    for pair in PAIRS:
        better, worse = (columns(method, name) for name in (pair if score.higher else pair[::-1]))
        lacking = np.isnan(values[:, better]).all(axis=1) | np.isnan(values[:, worse]).all(axis=1)
        on_both = np.where(lacking[:, None], np.nan, values)
        difference, interval = weighted_means(on_both, patients, REPLICATES).difference(better, worse)
        apart[pair] = difference, interval.low if interval else np.nan
        ends = f" ({interval.low:+.3f} to {interval.high:+.3f})" if interval else ""
        shown.append(f"{difference:+.3f}{ends}")
    claimed, ordered = (verdict([apart[pair] for pair in pairs]) for pairs in (score.claim, PAIRS[:2]))
    own, beside = [mean(method, name) for name in NETWORKS], [mean(name, "lesion") for name in BASELINES]
    return [score.title, *own, *beside, *shown, f"{CLAIMS[score.claim]}: {claimed}", ordered]


def verdict(differences: Sequence[tuple[float, float]]) -> str:
    """What differences, each with the lower end of its interval, say."""
    if all(low > 0 for _, low in differences):
        return "passes"
    return "mean only" if all(difference > 0 for difference, _ in differences) else "fails"


def page(table: pd.DataFrame, methods: Sequence[str], facts: str) -> str:
    """The page in Markdown."""
    from attn_jax.explain.scorecard import BASELINES

    heads = ["", *NETWORKS, *(title.casefold() for title in BASELINES.values())]
    heads += [f"{better} − {worse}" for better, worse in PAIRS] + ["claim", "full order"]
    lines = [HEAD.format(facts=facts).rstrip()]
    for method in methods:
        lines += ["", f"## {method}", "", _line(heads), _line(["---"] * len(heads))]
        lines += [_line(row(table, method, score)) for score in wanted(table)]
    return "\n".join(lines) + "\n"


def _line(entries: Sequence[str]) -> str:
    return f"| {' | '.join(entries)} |"


def main() -> None:
    """Trains, checks, scores, and writes the page."""
    tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--scored", type=int, default=24, help="images of the scores that need no mask")
    parser.add_argument("--methods", nargs="+", default=["grad_cam", "layer_cam"])
    parser.add_argument("--workdir", type=Path, default=Path(tempfile.gettempdir()) / "scorecard")
    options = parser.parse_args()

    found, aucs = networks(make_config(options.images, options.epochs, options.seeds), options.workdir)
    shown = "; ".join(f"{name} {', '.join(f'{auc:.2f}' for auc in aucs[name])}" for name in NETWORKS)
    if min(aucs["lesion"]) < LEAST_LESION or max(aucs["shortcut"]) > MOST_SHORTCUT:
        raise SystemExit(
            f"The networks are not what they should be: AUC on the test images {shown}; lesion networks need at least "
            f"{LEAST_LESION}, shortcut networks at most {MOST_SHORTCUT}. Raise --images or --epochs."
        )
    table = judged(found, options.methods, options.scored)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    facts = (
        f"{options.seeds} seeds a network, {options.images} simulated images, {options.epochs} epochs. AUC on the test "
        f"images: {shown}.\n{processor()}; Python {sys.version.split()[0]}, {versions}; {datetime.date.today()}."
    )
    text = page(table, options.methods, facts)
    part = PAGE.with_suffix(".partial")
    part.write_text(text)
    os.replace(part, PAGE)
    print(text)


if __name__ == "__main__":
    main()
