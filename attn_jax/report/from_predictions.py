"""A page from predictions alone: other people's models, judged as ours are."""

import pathlib
from collections.abc import Container, Sequence

import numpy as np
import pandas as pd

from attn_jax.evaluation.equivalence import MARGIN
from attn_jax.evaluation.evidence import default_baseline
from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.panel import Panel, panels
from attn_jax.evaluation.records import Predictions, Result, concatenate
from attn_jax.report.contents import COSTS, Contents, DatasetSummary

UNNAMED = "predictions"


def contents(
    sources: Sequence[tuple[str, Predictions]],
    *,
    baseline: str = "",
    metric: str = "auc",
    margin: float = MARGIN,
    common: bool = False,
    title: str = "",
) -> Contents:
    """What the page shows of predictions; nothing is known of training, cost or maps.

    Args:
        sources: where each model's predictions come from, and these; as `panel.panels` takes them.
        baseline: the model that others are compared with; else `evidence.default_baseline`.
        metric: what models are ranked and compared by.
        margin: a difference in it that is too small to matter.
        common: compare on the test images that all models of a data set have.
        title: the page's.

    Raises:
        UserError: models of a data set did not judge the same images, or the baseline is none of them.
    """
    rows, predictions, summaries = [], {}, {}
    results: dict[str, Result] = {}
    found = panels(sources, common=common)
    unnamed = _unused(UNNAMED, {panel.dataset for panel in found})
    for panel in found:
        dataset = panel.dataset or unnamed
        if baseline:
            panel.check(baseline)
        summaries[dataset] = _summary(panel, [source for source, of in sources if of.dataset == panel.dataset])
        for model, runs in panel.runs.items():
            for seed, run in runs.items():
                key = _unused(f"{dataset}-{model}-{seed}" if seed else f"{dataset}-{model}", results)
                predictions[key] = concatenate([run.validation, run.test]) if len(run.validation) else run.test
                results[key] = evaluate(predictions[key])
                rows.append(_row(key, dataset, model, seed))
    return Contents(
        title=title or "Predictions judged",
        cells=pd.DataFrame(rows),
        results=results,
        predictions=predictions,
        history=pd.DataFrame({"key": [], "step": [], "epoch": []}),
        datasets=summaries,
        baseline=baseline or default_baseline(found),
        primary=metric,
        margin=margin,
        verbatim=True,
    )


def _unused(key: str, known: Container[str]) -> str:
    """Names may hold what joins them, so that two runs would have the same key."""
    while key in known:
        key += "+"
    return key


def _row(key: str, dataset: str, model: str, seed: str) -> dict[str, object]:
    names = {"key": key, "slug": key, "state": "done", "reason": "", "dataset": dataset, "attention": model}
    return (
        names | {"model": "", "placement": "", "tested_on": "", "seed": seed, "fold": 0} | dict.fromkeys(COSTS, np.nan)
    )


def _summary(panel: Panel, files: list[str]) -> DatasetSummary:
    """Of what the first run says; how images were prepared is not known."""
    run = next(iter(next(iter(panel.runs.values())).values()))
    parts = {"val": run.validation, "test": run.test}
    counts = pd.DataFrame(0, index=list(panel.first.classes), columns=list(parts))
    for split, part in parts.items():
        for k, name in enumerate(part.classes):
            counts.loc[name, split] = int(
                (part.label == k).sum() if part.kind == "single" else (part.label[:, k] == 1).sum()
            )
    return DatasetSummary(
        classes=panel.first.classes,
        kind=panel.first.kind,
        simulated=False,
        counts=counts.loc[:, counts.any()],
        images=sum(map(len, parts.values())),
        image_size="",
        source=f"predictions of {', '.join(dict.fromkeys(pathlib.Path(file).name for file in files))}",
        patients=panel.patients,
        left_out=panel.left_out,
    )
