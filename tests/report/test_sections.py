"""Shapes of study that the small one does not have: findings, many classes, one seed, hundreds of cells."""

import dataclasses

import numpy as np
import pandas as pd

from attn_jax.evaluation.metrics import evaluate
from attn_jax.evaluation.records import Predictions
from attn_jax.report.arms import comparisons
from attn_jax.report.evidence import gather
from attn_jax.report.figures import cost, palette
from attn_jax.report.sections import build, figures_in, slugs, tables_in
from attn_jax.report.tables import leaderboard

EVIL = "<script>alert('x')</script> & $a_b$ 100%"


def study(contents, kind: str, classes: tuple[str, ...], arms: tuple[str, ...]):
    """The small study with other predictions: random scores of these classes or findings on `wild` alone."""
    rng = np.random.default_rng(0)
    cells = contents.cells[(contents.cells["dataset"] == "wild") & contents.cells["attention"].isin(arms)]
    cells = cells[cells["tested_on"] == ""].assign(gmacs=None, step_bytes=None, step_seconds=None, compile_seconds=None)
    ids, size = np.array([str(n) for n in range(40)]), (40, len(classes))
    predictions = {}
    for key in cells["key"]:
        score = rng.uniform(size=size)
        label = rng.integers(0, 2, size).astype(float) if kind == "multilabel" else np.arange(40) % len(classes)
        score = score if kind == "multilabel" else score / score.sum(axis=1, keepdims=True)
        if kind == "multilabel":
            label[:, 0] = 0
        predictions[key] = Predictions(ids, label, score, classes, kind)
    results = {key: evaluate(made) for key, made in predictions.items()}
    counts = pd.DataFrame({"test": [40] * len(classes)}, index=list(classes))
    summary = dataclasses.replace(contents.datasets["wild"], classes=classes, kind=kind, counts=counts)
    changes = {
        "cells": cells,
        "results": results,
        "predictions": predictions,
        "datasets": {"wild": summary},
        "gallery": (),
    }
    return dataclasses.replace(contents, **changes)


def test_findings_get_a_table_each_and_no_matrix(contents):
    made = study(contents, "multilabel", ("never", "mass", "nodule"), ("none", "se"))
    sections = build(made, comparisons(made), gather(made, comparisons(made)), pictures=True)
    table = next(t for t in tables_in(sections) if t.name == "per-class-wild")
    assert [c.label for c in table.columns] == ["Attention", "never", "mass", "nodule"]
    assert all(row[1].shown == "—" and row[1].reason for row in table.rows), "a finding that never occurs has no AUC"
    first = next(arm for arm in comparisons(made)[0].arms if arm.attention == str(table.rows[0][0].data[0]))
    values = [result.per_class["mass"]["auc"] for result in first.results.values()]
    assert table.rows[0][2].data == (np.mean(values), np.std(values, ddof=1), 2)
    assert not any(f.name.startswith("confusion") for f in figures_in(sections))
    assert any("Averaged over findings" in f.caption for f in figures_in(sections))


def test_many_classes_get_matrices_folded_after_the_first(contents):
    made = study(contents, "single", ("a", "b", "c", "d"), ("none", "se", "cbam", f"own:{EVIL}"))
    sections = build(made, comparisons(made), gather(made, comparisons(made)), pictures=True)
    blocks = [b for part in sections[0].parts for b in part.blocks if b.kind == "figures" and b.folded]
    assert len(blocks) == 1 and blocks[0].folded == "1 more confusion matrix"
    assert sum(f.name.startswith("confusion") for f in figures_in(sections)) == 4


def test_one_seed_has_no_spread_anywhere(contents):
    made = dataclasses.replace(contents, cells=contents.cells[contents.cells["seed"] == 0])
    board = leaderboard.leaderboard(comparisons(made)[0], "board")
    assert not any("±" in value.shown for row in board.rows for value in row)
    assert any("no spread can be stated" in note for note in board.notes)


def test_threshold_without_validation_is_noted(contents):
    undefined = {"threshold": "no validation images: 0.5"}
    results = {k: dataclasses.replace(r, undefined=undefined) for k, r in contents.results.items()}
    board = leaderboard.leaderboard(comparisons(dataclasses.replace(contents, results=results))[0], "board")
    assert "no validation images: 0.5" in board.notes


def test_every_data_set_has_its_own_sections(page):
    titles = ["Summary", "wild", "phantom", "Over data sets", "External validation", "Data", "Cells", "Provenance"]
    assert [e.text for e in page.all("h2")] == titles


def test_the_leaderboard_and_the_cost_figures_hold_the_evidence_of_their_arms(contents):
    compared = comparisons(contents)
    evidence = gather(contents, compared)
    judged = evidence.find(compared[0])
    board = leaderboard.leaderboard(compared[0], "board", judged)
    fields = [field for column in board.columns for field in column.fields]
    looks = palette.looks(compared[0], list(dict.fromkeys(contents.cells["attention"])))
    figure = next(of for of in cost.figures(compared[0], looks, "c", judged) if of.name == "c-gmacs")
    drawn = figure.data.set_index("arm")
    for arm, row in zip(compared[0].ranked, board.rows, strict=True):
        told = dict(zip(fields, [item for value in row for item in value.data], strict=True))
        interval = judged.found.models[arm.label].metrics["auc"].intervals["seeds and patients logit t"]
        assert (told["auc_low"], told["auc_high"]) == interval[:2]
        assert told["letters"] == judged.found.letters[arm.label]
        assert tuple(drawn.loc[arm.label, ["auc_low", "auc_high"]]) == interval[:2]
    assert "intervals over seeds and images" in figure.caption


def test_external_validation_has_its_evidence(page):
    tables = [e.attrs.get("id") for e in page.all("table")]
    for name in ("", "intervals-", "trust-"):
        assert f"table-{name}external-wild-on-phantom" in tables
    assert not any(name and name.startswith("table-contests-external") for name in tables), "one arm has no baseline"


def test_slugs_are_safe_and_unique():
    assert slugs(["a b", "a/b", "../..", "Brain_MRI"]) == {
        "a b": "a-b",
        "a/b": "a-b-2",
        "../..": "x",
        "Brain_MRI": "brain_mri",
    }
