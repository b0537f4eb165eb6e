"""Time to redo the page of a made-up study: `python benchmarks/report.py [--cells N] [--images N] [--mechanisms N]`.

Prints the machine, the seconds, and the size of the page. The numbers of the study are invented; nothing is trained.
Patients have two images each, of two sexes and three sites; every cell's predictions and saliency scores (of one method
and the baselines: those by masks of all test images, the others of 24) are read from files, as a study's are.
"""

import argparse
import dataclasses
import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from attn_jax import report
from attn_jax.attention import MECHANISMS
from attn_jax.evaluation import records
from attn_jax.evaluation.files import read_frame, write_frame
from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.records import Predictions
from attn_jax.explain.scorecard import BASELINES, METRICS
from attn_jax.report import Contents, DatasetSummary, GalleryItem, GalleryMap
from attn_jax.report.contents import SCORES

ATTENTIONS = {"none": (1.50, 11.18e6), "se": (1.62, 11.27e6), "cbam": (1.70, 11.27e6), "gc": (1.58, 11.31e6)}
SPLITS = ("train", "val", "test")


def study(
    datasets: Sequence[str],
    seeds: int,
    images: int,
    *,
    classes: Sequence[str] = ("healthy", "diseased"),
    kind: str = "single",
    simulated: Sequence[str] = (),
    gallery: int = 8,
    pixels: int = 128,
) -> Contents:
    """An invented study of four mechanisms, whose scores are further apart the better it is made to be."""
    rows, results, predictions, history = [], {}, {}, []
    for d, dataset in enumerate(datasets):
        for a, (attention, (apart, parameters)) in enumerate(ATTENTIONS.items()):
            for seed in range(seeds):
                rng = np.random.default_rng((d, a, seed))
                key = f"{d}{a}{seed:02d}c0de"
                made = _predictions(
                    rng, np.random.default_rng(d), images, tuple(classes), kind, apart + rng.normal(0, 0.08)
                )
                predictions[key], results[key] = made, evaluate(made)
                history.append(_history(rng, key, apart))
                rows.append(_cell(rng, key, dataset, attention, seed, parameters, a))
    return Contents(
        title="Attention in medical imaging: a made-up study",
        description="Four mechanisms in ResNet-18, the same splits and schedule for all; every number is invented.",
        cells=pd.DataFrame(rows),
        results=results,
        predictions=predictions,
        history=pd.concat(history, ignore_index=True),
        datasets={name: _summary(images, tuple(classes), kind, name in simulated, pixels) for name in datasets},
        gallery=tuple(item for name in datasets for item in _gallery(name, gallery, pixels, classes)),
        provenance={
            "versions": {"attn_jax": "0.1.0", "jax": "0.10.2"},
            "seeds": list(range(seeds)),
            "config": "model:\n  name: resnet18\n",
        },
        command="python main.py --config=configs/demo.py",
    )


def _predictions(rng, shared, images: int, classes: tuple[str, ...], kind: str, apart: float) -> Predictions:
    ids = np.array([f"{i % 7:02d}/image_{i:05d}.png" for i in range(images)])
    split = np.where(np.arange(images) % 3 == 0, "val", "test")
    if kind == "multilabel":
        label = (shared.random((images, len(classes))) < 0.25).astype(float)
        score = 1 / (1 + np.exp(1.5 - apart * label - rng.normal(0, 1, label.shape)))
    else:
        label = shared.integers(0, len(classes), images)
        logits = rng.normal(0, 1, (images, len(classes))) + apart * np.eye(len(classes))[label]
        score = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    patient = np.arange(images) // 6 * 3 + np.arange(images) % 3  # a patient's images lie in one split
    columns = pd.DataFrame({"sex": np.where(patient % 2, "f", "m"), "site": np.array(["a", "b", "c"])[patient % 5 % 3]})
    group = np.array([f"p{number}" for number in patient])
    return Predictions(ids, label, score, classes, kind, group=group, split=split, columns=columns)


def scores(predictions: Predictions, seed: int, scored: int = 24) -> pd.DataFrame:
    """Invented saliency scores of a cell's test images."""
    rng, test, frames = np.random.default_rng(seed), predictions.part("test"), []
    for method in ("grad_cam", *BASELINES):
        for metric, of in METRICS.items():
            count = len(test) if of.needs == "masks" else min(len(test), scored)
            told = {"image_id": test.image_id[:count], "group": test.group[:count], "method": method, "metric": metric}
            frames.append(pd.DataFrame(told | {"value": rng.beta(2, 3, count)}))
    return pd.concat(frames, ignore_index=True)


def store(contents: Contents, folder: pathlib.Path) -> None:
    """A folder for each cell, with what a study stores there."""
    for number, (key, made) in enumerate(contents.predictions.items()):
        (folder / key).mkdir(parents=True)
        records.write(folder / key / "predictions.parquet", made)
        write_frame(folder / key / "saliency.parquet", scores(made, number))


def stored(contents: Contents, folder: pathlib.Path) -> Contents:
    """The same study, read from there."""
    predictions = {key: records.read(folder / key / "predictions.parquet") for key in contents.predictions}
    frames = [read_frame(folder / key / "saliency.parquet").assign(key=key) for key in predictions]
    return dataclasses.replace(contents, predictions=predictions, scores=pd.concat(frames, ignore_index=True)[SCORES])


def _history(rng, key: str, apart: float) -> pd.DataFrame:
    epoch = np.linspace(0.25, 20, 80)
    fall = np.exp(-epoch / (9 - 2 * apart))
    noise = rng.normal(0, 0.02, (3, len(epoch)))
    frame = pd.DataFrame({"key": key, "step": (epoch * 24).astype(int), "epoch": epoch})
    frame["train_loss"] = 0.15 + 0.6 * fall + noise[0]
    whole = np.arange(len(epoch)) % 4 == 3
    frame["val_loss"] = np.where(whole, 0.36 + 0.35 * fall + noise[1] + 0.004 * epoch, np.nan)
    frame["val_auc"] = np.where(whole, 0.5 + 0.21 * apart * (1 - fall) + noise[2], np.nan)
    return frame


def _cell(rng, key: str, dataset: str, attention: str, seed: int, parameters: float, place: int) -> dict:
    costs = {"parameters": parameters, "gmacs": 0.596 + 0.003 * place, "step_bytes": 212e6 + 31e6 * place}
    costs |= {
        "step_seconds": 0.21 + 0.03 * place + rng.normal(0, 0.004),
        "compile_seconds": 14 + 3 * place + rng.normal(0, 0.5),
    }
    costs |= {"train_seconds": 300 + 30 * place, "steps": 480, "best_step": 24 * rng.integers(8, 20)}
    names = {
        "key": key,
        "slug": f"{dataset}-{attention}-s{seed}",
        "state": "done",
        "reason": "",
        "dataset": dataset,
        "tested_on": "",
    }
    return names | {"attention": attention, "model": "resnet18", "placement": "", "seed": seed, "fold": 0} | costs


def _summary(images: int, classes: tuple[str, ...], kind: str, simulated: bool, pixels: int) -> DatasetSummary:
    share = {"train": 4, "val": 1, "test": 2}
    counts = pd.DataFrame(
        {split: [share[split] * images // 3 // len(classes)] * len(classes) for split in SPLITS}, index=list(classes)
    )
    return DatasetSummary(
        classes,
        kind,
        simulated,
        counts,
        int(counts.to_numpy().sum()),
        f"{pixels}x{pixels}, 1 channel",
        "folder",
        patients=images // 2,
        skipped=(("yes/broken.jpg", "truncated after 1,024 bytes"), ("no/empty.png", "no bytes")),
        clusters=11,
        images_in_clusters=24,
        leaked_naive=4,
        notes=("the folder has no official split",),
    )


def _gallery(dataset: str, count: int, pixels: int, classes: Sequence[str]) -> list[GalleryItem]:
    rng = np.random.default_rng(len(dataset))
    grid = np.mgrid[:pixels, :pixels] / pixels
    items = []
    for index in range(count):
        y, x = rng.uniform(0.3, 0.7, 2)
        head = 1 / (1 + np.exp(40 * (np.hypot((grid[0] - 0.5) / 0.95, (grid[1] - 0.5) / 0.8) - 0.44)))
        texture = np.kron(rng.normal(0, 1, (pixels // 4, pixels // 4)), np.ones((4, 4)))
        lesion = np.hypot(grid[0] - y, grid[1] - x) < 0.09
        image = np.clip(255 * head * (0.45 + 0.06 * texture + 0.3 * lesion), 0, 255).astype(np.uint8)
        columns = []
        for a, name in enumerate(ATTENTIONS):
            far = rng.normal(0, 0.16 / (1 + 0.3 * a), 2)
            heat = np.exp(-(((grid[0] - y - far[0]) ** 2 + (grid[1] - x - far[1]) ** 2) / 0.03))
            correct = bool(rng.random() < 0.55 + 0.1 * a)
            said, energy = classes[1] if correct else classes[0], float(heat[lesion].sum() / heat.sum())
            columns.append(GalleryMap(name, heat / heat.max(), said, float(rng.uniform(0.5, 0.99)), correct, energy))
        items.append(
            GalleryItem(dataset, f"{classes[1]}/case_{index:03d}.png", image, lesion, classes[1], tuple(columns))
        )
    return items


def main() -> None:
    """Builds the page once and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--mechanisms", type=int, default=4, help="more of them have more pairs, fewer seeds")
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    for place, name in enumerate([name for name in MECHANISMS if name not in ATTENTIONS][: options.mechanisms - 4]):
        ATTENTIONS[name] = (1.5 + 0.01 * place, 11.2e6 + 1e4 * place)
    datasets = ("brain_mri", "covid_ct", "chest_xray")[: 3 if options.mechanisms == 4 else 1]
    seeds = max(1, options.cells // (len(datasets) * len(ATTENTIONS)))
    contents = study(datasets, seeds, options.images)
    folder = options.out or pathlib.Path(tempfile.mkdtemp()) / "report"
    cells = pathlib.Path(tempfile.mkdtemp())
    store(contents, cells)
    begun, cpu = time.perf_counter(), time.process_time()
    page = report.write(stored(contents, cells), folder)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    files = sum(1 for path in folder.rglob("*") if path.is_file())
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}"
    )
    print(
        f"{len(contents.cells)} cells ({len(ATTENTIONS)} mechanisms, {len(datasets)} data sets, {seeds} seeds) x"
        f" {options.images} images: {wall:.1f} s ({cpu:.1f} s of CPU), page "
        f"{page.stat().st_size / 1e6:.2f} MB, {files} files in {folder}"
    )


if __name__ == "__main__":
    main()
