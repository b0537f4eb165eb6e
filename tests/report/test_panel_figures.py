"""Figures of panels: their numbers are those of plain loops and of the evidence, whatever the seeds and folds."""

import dataclasses

import numpy as np
import pytest

from attn_jax.evaluation.calibration import reliability as binned
from attn_jax.evaluation.calibration import reliability_bands
from attn_jax.evaluation.curves import replicate_roc
from attn_jax.evaluation.decision_curve import decision_curve
from attn_jax.evaluation.evidence import on_panel
from attn_jax.evaluation.panel import of_folds, panels
from attn_jax.evaluation.records import Predictions
from attn_jax.evaluation.replicates import draws
from attn_jax.report.figures import decision, forest, reliability, roc, selective


@pytest.fixture(scope="module")
def three(sources):
    return panels(list(sources(repeats=2, classes=3)))[0]


def test_a_diagram_of_one_seed_is_that_of_its_scores(panel):
    test = panel.runs["SE"]["0"].test
    one = dataclasses.replace(panel, runs={"SE": {"0": panel.runs["SE"]["0"]}})
    drawn, truth, score = reliability.diagram(one, "SE"), test.label == 1, test.score[:, 1]
    points = binned(truth, score, reliability.POINTS, equal_mass=True)
    bands = reliability_bands(truth, score, reliability.POINTS, equal_mass=True)
    for name, wanted in {**points._asdict(), "consistent_score": points.score}.items():
        np.testing.assert_allclose(getattr(drawn, name), wanted, atol=1e-12)
    np.testing.assert_allclose([drawn.low, drawn.high], bands[2:], atol=1e-12)
    np.testing.assert_allclose([drawn.consistent_low, drawn.consistent_high], bands[:2])


def test_the_same_seed_again_makes_no_bar_shorter(panel):
    run = panel.runs["SE"]["0"]
    one, four = (dataclasses.replace(panel, runs={"SE": dict.fromkeys(map(str, range(n)), run)}) for n in (1, 4))
    for first, second in zip(reliability.diagram(one, "SE"), reliability.diagram(four, "SE"), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-12)


def test_reliability_of_more_classes_is_of_the_likeliest(three, settings, look):
    found = on_panel(three, settings)
    figure = reliability.figure(three, found, settings, look, "r", simulated=False)
    part = figure.data[figure.data["model"] == "SE"]
    accuracy = np.mean([(of.test.label == of.test.score.argmax(1)).mean() for of in three.runs["SE"].values()])
    assert np.average(part["frequency"], weights=part["images"]) == pytest.approx(accuracy)
    assert "slope" not in figure.svg and f"ECE {found.models['SE'].metrics['ece'].value:.3f}" in figure.svg
    assert decision.figure(three, found, settings, look, "d", simulated=False) is None


def test_net_benefit_and_its_band_are_those_of_repeated_images(panel, found, settings, look):
    tests = [run.test for run in panel.runs["SE"].values()]

    def plain(at):
        curves = [decision_curve(of.label[at] == 1, of.score[at, 1]).model for of in tests]
        return np.mean(curves, axis=0)

    figure = decision.figure(panel, found, settings, look, "d", simulated=False)
    part = figure.data[figure.data["model"] == "SE"]
    np.testing.assert_allclose(part["net_benefit"], plain(np.arange(90)), atol=1e-12)
    weights = np.concatenate([of for _, of in draws(np.random.default_rng(0), panel.cluster, 60)])
    again = np.stack([plain(np.repeat(np.arange(90), of.astype(int))) for of in weights])
    np.testing.assert_allclose(part[["low", "high"]].T, np.quantile(again, [0.025, 0.975], axis=0), atol=1e-12)
    assert figure.data.loc[figure.data["model"] != "SE", "low"].isna().all(), "only the best has a band"


def test_accuracy_at_coverage_is_that_of_the_evidence(panel, found, three, settings, look):
    for of, evidence in ((panel, found), (three, on_panel(three, settings))):
        figure = selective.figure(of, evidence, settings, look, "s", simulated=False)
        for model in of.models:
            line = figure.data[figure.data["model"] == model].set_index("coverage")["accuracy"]
            for percent in (50, 80, 90, 95):
                assert line[percent / 100] == pytest.approx(
                    evidence.models[model].trust.numbers[f"accuracy_at_{percent}"]
                )
            assert line[1.0] == pytest.approx(evidence.models[model].metrics["accuracy"].value)


def test_folds_are_judged_on_their_own_images(sources, settings, look):
    tests = {model: p for model, p in sources(repeats=1)}
    halves = {"0": np.arange(90) < 40, "0, fold 1": np.arange(90) >= 40}
    panel = of_folds("d", {model: {fold: p.rows(at) for fold, at in halves.items()} for model, p in tests.items()})
    found = on_panel(panel, settings)
    drawn = reliability.diagram(panel, "SE")
    whole = binned(tests["SE"].label == 1, tests["SE"].score[:, 1], reliability.POINTS, equal_mass=True)
    np.testing.assert_allclose(drawn.images, whole.images)
    np.testing.assert_allclose(drawn.frequency, whole.frequency)
    parts = [decision_curve(p.label == 1, p.score[:, 1]) for p in map(tests["SE"].rows, halves.values())]
    np.testing.assert_allclose(decision.net_benefit(panel, "SE"), np.mean([of.model for of in parts], axis=0))
    weights = np.concatenate([of for _, of in draws(np.random.default_rng(0), panel.cluster, 30)])
    curves = [
        replicate_roc(tests["SE"].label[at] == 1, tests["SE"].score[at, 1], weights[:, at], roc.POINTS)
        for at in halves.values()
    ]
    ends = np.quantile(np.mean(curves, axis=0), [0.025, 0.975], axis=0)
    np.testing.assert_allclose(roc.band(panel, "SE", count=30), ends, atol=1e-12)
    for part in (reliability, decision, selective):
        assert part.figure(panel, found, settings, look, "x", simulated=False) is not None


def test_findings_have_diagrams_of_their_own_and_no_curves_for_classes(settings, look):
    rng = np.random.default_rng(0)
    many = [
        (
            model,
            Predictions(range(40), rng.integers(0, 2, (40, 2)), rng.uniform(size=(40, 2)), ("a", "b"), "multilabel"),
        )
        for model in ("none", "SE")
    ]
    first = many[0][1]
    many[1] = ("SE", dataclasses.replace(many[1][1], label=first.label))
    (panel,) = panels(many)
    found = on_panel(panel, settings)
    for part in (decision, selective):
        assert part.figure(panel, found, settings, look, "x", simulated=False) is None
    data = reliability.figure(panel, found, settings, look, "x", simulated=False).data
    assert set(zip(data["finding"], data["model"], strict=True)) == {(f, m) for f in "ab" for m in ("none", "SE")}
    test = panel.runs["SE"][""].test
    points = binned(test.label[:, 1] == 1, test.score[:, 1], reliability.POINTS, equal_mass=True)
    drawn = data[(data["finding"] == "b") & (data["model"] == "SE")]
    np.testing.assert_allclose(drawn["frequency"], points.frequency)
    np.testing.assert_allclose(drawn["score"], points.score)
    assert forest.figure(found, settings, look, "f", simulated=False) is not None
