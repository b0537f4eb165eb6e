"""Does the saliency scorecard know a good network from a bad one? Three whose grounds are known are judged by it.

    python benchmarks/scorecard_phantoms.py [--seeds 3] [--images 800] [--epochs 15] [--workdir DIR]

One network learns the lesions of simulated radiographs, one a tag that gives the label away (see configs/shortcut.py),
one nothing: it keeps its initial weights. All explain the positive class of the same test images, on which the tag says
nothing about the label. A score that is worth something ranks them lesion, shortcut, untrained: so it is asked of those
that need a mask. A map of the shortcut that shows the tag is as faithful as one of the lesion that shows the lesion: of
the others, that the trained two lie before the untrained is all that can be hoped for, and the table shows both.

Prints a Markdown table: means over images and then over seeds, and differences with 95 % percentile intervals over
patients, signed so that above 0 is the hoped-for order. About 10 minutes on one core.
"""

import argparse
import pathlib
import tempfile

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from attn_jax.command_line import tune_cpu

NETWORKS = ("lesion", "shortcut", "untrained")
REPLICATES = 2000


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
    config.explain.update(dict(methods=(), gallery=0))
    config.report.pictures = False
    config.grid.update(dict(dataset=("lesion", "shortcut"), attention=("none",), seed=tuple(range(seeds))))
    return config


def judged(config: ConfigDict, workdir: pathlib.Path, method: str, scored: int) -> tuple[pd.DataFrame, dict[str, list]]:
    """The scores of every network and seed, and each trained one's AUC on the test images."""
    from sklearn.metrics import roc_auc_score

    from attn_jax import progress, study
    from attn_jax.explain.similarity import spearman, ssim
    from attn_jax.explain.trust import repeatability
    from attn_jax.study.build import make_parts
    from attn_jax.study.runner import Datasets, plan
    from attn_jax.study.scoring import Asked, chosen, scores
    from attn_jax.study.train import predict_rows
    from attn_jax.study.trained import data_facts, load_model

    if study.run(config, workdir):
        raise SystemExit("a training failed")
    datasets = Datasets(workdir / "cache")
    cells = plan(config, workdir, datasets)
    shown = datasets.of(config, next(cell.point for cell in cells if cell.dataset == "shortcut"))[1]
    rows = shown.rows("test")
    few = chosen(shown.image_ids[rows], scored)
    targets = np.full(len(rows), shown.positive)
    frames, aucs, looks = [], {name: [] for name in NETWORKS}, {name: [] for name in NETWORKS}
    for cell in progress.track(cells, "scoring", len(cells)):
        data = datasets.of(config, cell.point)[1]
        networks = {cell.dataset: load_model(cell.config, data_facts(data), cell.folder)}
        if cell.dataset == "lesion":
            parts = make_parts(cell.config, data)
            names = ("params", "batch_stats", "constants")
            networks["untrained"] = parts.model, parts.task, {name: getattr(parts.state, name) for name in names}
        for name, (model, task, variables) in networks.items():
            predicted = predict_rows(model, task, variables, shown.images, rows)[:, shown.positive]
            aucs[name].append(roc_auc_score(shown.labels[rows] == shown.positive, predicted))
            asked = Asked(model, task, variables, shown, rows, targets)
            frames.append(scores(asked, (method,), scored).assign(network=name, seed=cell.config.seed))
            looks[name].append(asked.at_size(asked.maps(method, few)))
    for name, runs in looks.items() if config.grid.seed[1:] else ():
        for measure, similarity in (("ssim", ssim), ("spearman", spearman)):
            alike = repeatability(np.stack(runs), similarity)
            ids, groups = shown.image_ids[rows[few]], shown.groups[rows[few]]
            named = {"image_id": ids, "group": groups, "method": method, "network": name, "seed": 0}
            for metric, value in ((measure, alike.same), (f"{measure}/repaired", alike.repaired)):
                frames.append(pd.DataFrame(named | {"metric": f"repeatability_{metric}", "value": value}))
    return pd.concat(frames, ignore_index=True), aucs


def row(table: pd.DataFrame, method: str, metric: str, title: str, sign: int) -> str:
    """One line: each network's mean, their differences with intervals, and whether they are ranked."""
    from attn_jax.evaluation.intervals import percentile
    from attn_jax.evaluation.replicates import clusters
    from attn_jax.evaluation.weighted_means import weighted_means

    part = table[(table["metric"] == metric) & table["method"].isin((method, "centre"))]
    wide = part.pivot(index="image_id", columns=["method", "network", "seed"], values="value")
    group = part.drop_duplicates("image_id").set_index("image_id")["group"].loc[wide.index].to_numpy()
    means = weighted_means(wide.to_numpy(dtype=float), clusters(group, len(group)), REPLICATES)
    every = np.vstack([means.point, means.drawn])
    of = {n: every[:, [c[:2] == (method, n) for c in wide.columns]].mean(axis=1) for n in NETWORKS}
    centre = every[0, [c[0] == "centre" for c in wide.columns]]
    shown = [f"{of[name][0]:.3f}" for name in NETWORKS] + [f"{centre.mean():.3f}" if len(centre) else ""]
    above, clear = [], []
    for first, second in (NETWORKS[:2], NETWORKS[1:], NETWORKS[::2]):
        difference = sign * (of[first] - of[second])
        interval = percentile(difference[1:])
        ends = f"{interval.low:+.3f} to {interval.high:+.3f}" if interval else "none"
        shown.append(f"{difference[0]:+.3f} ({ends})")
        above.append(difference[0] > 0)
        clear.append(interval is not None and interval.low > 0)
    verdict = "yes" if all(clear[:2]) else "in the means alone" if all(above[:2]) else "no"
    return f"| {title} | {' | '.join(shown)} | {verdict} |"


def main() -> None:
    """Trains, scores, and prints the table."""
    tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--scored", type=int, default=48, help="images of the scores that need no mask")
    parser.add_argument("--method", default="grad_cam")
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "scorecard")
    options = parser.parse_args()

    from attn_jax.explain.scorecard import METRICS

    config = make_config(options.images, options.epochs, options.seeds)
    table, aucs = judged(config, options.workdir, options.method, options.scored)
    images = table.groupby("metric")["image_id"].nunique()
    print(
        f"\n{options.method} of {options.seeds} seeds a network; {images['iou']} test images with a mask, "
        f"{images['insertion']} for all other scores. AUC on the test images: "
        + "; ".join(f"{name} {', '.join(f'{auc:.2f}' for auc in aucs[name])}" for name in NETWORKS)
    )
    print("\n| | lesion | shortcut | untrained | middle | lesion − shortcut | shortcut − untrained |", end="")
    print(" lesion − untrained | ranked |\n|---|---|---|---|---|---|---|---|---|")
    for metric, of in METRICS.items():
        title = f"{of.title} ({'higher' if of.higher_is_better else 'lower'} is better)"
        print(row(table, options.method, metric, title, 1 if of.higher_is_better else -1))
    last = [m for m in table["metric"].unique() if m.startswith("randomised_ssim/") and not m.endswith("repaired")][-1]
    for measure, words in (("ssim", "SSIM"), ("spearman", "Spearman")):
        layer = last.partition("/")[2]
        print(row(table, options.method, f"randomised_{measure}/{layer}", f"Randomised, {words} (lower)", -1))
        if options.seeds > 1:
            print(row(table, options.method, f"repeatability_{measure}", f"Repeatability, {words} (higher)", 1))
    others = table[table["metric"].str.endswith("/repaired")].groupby(["metric", "network"])["value"].mean()
    print("\nMaps of different images: " + "; ".join(f"{m}, {n} {v:.3f}" for (m, n), v in others.items()))


if __name__ == "__main__":
    main()
