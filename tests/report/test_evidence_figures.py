"""Figures of evidence: each holds the evidence's numbers, says what was drawn, and is not there where it cannot be."""

import dataclasses
import re
import xml.etree.ElementTree

import numpy as np
import pytest

from attn_jax.evaluation.across import Across
from attn_jax.evaluation.comparing import Effect
from attn_jax.evaluation.evidence import Settings, on_panel
from attn_jax.evaluation.hierarchical import Rope, posterior
from attn_jax.evaluation.over_datasets import compare
from attn_jax.evaluation.panel import panels
from attn_jax.report.figures import (
    critical_difference,
    decision,
    expected,
    forest,
    reliability,
    rows,
    seeds,
    selective,
    subgroup,
)
from attn_jax.report.figures.palette import FAINT, INK, LIGHT
from attn_jax.report.numbers import signed

GAINS = ("none", "SE", "CBAM \u00b7 resnet18", "ECA")


def over(datasets):
    """All models on so many data sets, each better than the one before."""
    rng = np.random.default_rng(0)
    values = 0.8 + 0.02 * np.arange(4) + rng.normal(0, 0.01, (datasets, 4))
    known = {m: posterior(values[:, k] - values[:, 0], np.full(datasets, 0.01), rope=0.02) for k, m in enumerate(GAINS)}
    known.pop("none")
    names, references = tuple(f"d{k}" for k in range(datasets)), dict.fromkeys(known, "none")
    chances = {model: {0.01: of.new_rope, 0.1: Rope(0.2, 0.3, 0.5)} for model, of in known.items()}
    return Across(tuple(GAINS), names, "none", compare(values, baseline=0), known, references, chances)


def every(panel, found, simulated, settings, look):
    """All figures of this file."""
    of_panel = [part.figure for part in (reliability, decision, selective)]
    of_found = [part.figure for part in (forest, seeds)]
    drawn = [draw(panel, found, settings, look, f"p{k}", simulated=simulated) for k, draw in enumerate(of_panel)]
    drawn += [draw(found, settings, look, f"f{k}", simulated=simulated) for k, draw in enumerate(of_found)]
    drawn += subgroup.figures(found, settings, look, "s", simulated=simulated)
    drawn += [
        part.figure(over(8), settings, look, f"a{k}", simulated=simulated)
        for k, part in enumerate((critical_difference, expected))
    ]
    return drawn


@pytest.mark.parametrize("simulated", [True, False])
def test_every_figure_is_a_whole_picture(panel, found, simulated, settings, look):
    drawn = every(panel, found, simulated, settings, look)
    assert len(drawn) == 8
    for figure in drawn:
        xml.etree.ElementTree.fromstring(figure.svg)
        ids = re.findall(r'\bid="([^"]+)"', figure.svg)
        assert len(ids) == len(set(ids)) and all(name.startswith(f"{figure.name}-") for name in ids)
        targets = set(re.findall(r'(?:href="#|url\(#)([^")]+)', figure.svg))
        assert targets <= set(ids)
        assert figure.svg.count("SIMULATED") == simulated == figure.caption.startswith("Simulated data.")
        assert ("simulated" in figure.data) == simulated
        label = re.search(r'aria-label="([^"]*)"', figure.inline)[1]
        assert re.search(r"\d\.\d\d", label) and "SE" in label and "ECA" not in label
        assert "ECA" not in figure.svg, "a faint model is not named"
        assert not any(colour.lower() in figure.inline.lower() for colour in (*LIGHT, INK, FAINT))


def test_forest_holds_the_differences_and_the_verdicts(found, settings, look):
    figure = forest.figure(found, settings, look, "f", simulated=False)
    means = figure.data[figure.data["of"] == "mean"].set_index("model")
    assert means["delta_auc"].is_monotonic_decreasing and set(means.index) == set(GAINS) - {"none"}
    for contest in found.contests:
        effect, row = contest.effects["auc"], means.loc[contest.first]
        interval = effect.intervals["seeds and patients t"]
        assert (row["delta_auc"], row["low"], row["high"]) == (effect.value, *interval[:2])
        assert row["verdict"] == contest.equivalence.verdict
        alone = figure.data[(figure.data["model"] == contest.first) & (figure.data["of"] == "seed")]
        assert tuple(alone["delta_auc"]) == effect.seeds
        text = f"{signed(effect.value)} ({signed(interval.low)} to {signed(interval.high)})"
        assert (text in figure.svg) == (contest.first != "ECA")
    assert (
        "t intervals over seeds and patients (60 bootstrap replicates)" in figure.caption
        and "\u00b10.02" in figure.caption
    )


def test_forest_of_a_loss_has_the_lowest_first(sources, look):
    settings = Settings(replicates=60, metric="brier")
    found = on_panel(panels(list(sources(repeats=1)))[0], settings)
    figure = forest.figure(found, settings, look, "f", simulated=False)
    assert figure.data["delta_brier"].is_monotonic_increasing and (figure.data["of"] == "mean").all()
    assert (
        "\u2190 better" in figure.svg
        and "t intervals over patients (60" in figure.caption
        and "seed" not in figure.caption
    )


def test_forest_says_why_there_is_no_difference_and_where_seeds_are_unpaired(sources, settings, look):
    apart = panels(list(sources(repeats={"none": (0, 1), "SE": (0, 1), "ECA": (7,), "CBAM \u00b7 resnet18": (8, 9)})))[
        0
    ]
    found = on_panel(apart, settings)
    figure = forest.figure(found, settings, look, "f", simulated=False)
    assert figure.svg.count("seeds unpaired") == 1, "of the model that is named"
    means = figure.data[figure.data["of"] == "mean"].set_index("model")
    assert means["verdict"].str.endswith("seeds unpaired").sum() == 2
    assert dict(means["drawn"]) == {
        "SE": "seeds and patients",
        "ECA": "patients",
        "CBAM \u00b7 resnet18": "seeds and patients",
    }
    unknown = Effect("auc", None, reason="undefined on these test images")
    contests = [dataclasses.replace(of, effects={"auc": unknown}, equivalence=None) for of in found.contests]
    one = dataclasses.replace(found, contests=(found.contests[0], *contests[1:]))
    drawn = forest.figure(one, settings, look, "f", simulated=False)
    assert drawn.data.iloc[-1]["verdict"] == "undefined on these test images"
    none = dataclasses.replace(found, contests=tuple(contests))
    assert forest.figure(none, settings, look, "f", simulated=False) is None
    assert forest.figure(dataclasses.replace(found, contests=()), settings, look, "f", simulated=False) is None


def test_forest_of_several_baselines_names_none(panel, settings, look):
    found = on_panel(panel, settings, {"SE": "none", "CBAM \u00b7 resnet18": "ECA"})
    figure = forest.figure(found, settings, look, "f", simulated=False)
    assert figure.title == "Differences in AUC to the baseline with all else equal"
    assert set(figure.data["baseline"]) == {"none", "ECA"}


def test_seeds_hold_both_intervals(found, settings, look):
    figure = seeds.figure(found, settings, look, "s", simulated=False)
    assert len(figure.data) == 3 * len(GAINS)
    for model, part in figure.data.groupby("model"):
        value = found.models[model].metrics["auc"]
        assert dict(zip(part["seed"], part["auc"], strict=True)) == value.seeds
        for name, by in (("patients", "patients logit t"), ("seeds_and_patients", "seeds and patients logit t")):
            ends = part[[f"{name}_low", f"{name}_high"]].iloc[0]
            assert tuple(ends) == value.intervals[by][:2]
        errors = part[["error_seeds", "error_patients"]].iloc[0]
        assert np.sqrt((errors**2).sum()) == pytest.approx(value.spread.total)
        assert errors["error_seeds"] == pytest.approx(value.sd / np.sqrt(3))


def test_one_seed_has_no_doubt_from_seeds(sources, settings, look):
    one = on_panel(panels(list(sources(repeats=1)))[0], settings)
    assert seeds.figure(one, settings, look, "s", simulated=False) is None


def test_subgroups_hold_every_group(found, settings, look):
    (figure,) = subgroup.figures(found, settings, look, "s", simulated=False)
    assert figure.title == "AUC by sex", "a column with a value an image is none"
    for model in GAINS:
        (of,) = found.models[model].subgroups
        part = figure.data[figure.data["model"] == model]
        assert list(part["auc"]) == [group.value for group in of.groups]
        assert list(part["high"]) == [group.interval.high for group in of.groups]
        assert list(part.loc[part["worst"], "group"]) == [of.worst]
        assert f"{of.groups[0].images} images, {of.groups[0].positives} positive" in figure.svg


def test_many_groups_leave_room_for_fewer_models(found, settings, look):
    many = {}
    for model, of in found.models.items():
        (kind,) = of.subgroups
        groups = tuple(kind.groups[0]._replace(name=f"site {k}") for k in range(16))
        many[model] = dataclasses.replace(of, subgroups=(kind._replace(groups=groups),))
    names = [*GAINS, *(f"extra {k}" for k in range(4))]
    models = {name: many.get(name, many["SE"]) for name in names}
    shown = dict.fromkeys(names, look["SE"])
    (figure,) = subgroup.figures(dataclasses.replace(found, models=models), settings, shown, "s", simulated=False)
    assert sum(f">{name}<" in figure.svg for name in names) == 3 and ">none<" in figure.svg
    assert "5 further models" in figure.caption and set(figure.data["model"]) == set(names)


def test_without_columns_there_are_no_subgroups(found, settings, look):
    bare = {name: dataclasses.replace(of, subgroups=()) for name, of in found.models.items()}
    assert subgroup.figures(dataclasses.replace(found, models=bare), settings, look, "s", simulated=False) == []


def test_critical_difference_holds_ranks_and_groups(settings, look):
    of = over(8)
    figure = critical_difference.figure(of, settings, look, "c", simulated=False)
    ranks = dict(zip(of.models, of.comparison.ranks, strict=True))
    assert dict(zip(figure.data["model"], figure.data["average_rank"], strict=True)) == ranks
    assert figure.data["average_rank"].is_monotonic_increasing
    for k, group in enumerate(of.comparison.nemenyi.groups, 1):
        members = figure.data.loc[figure.data["groups"].str.split().map(lambda x, k=k: str(k) in x), "model"]
        assert set(members) == {of.models[column] for column in group}
    assert f"{of.comparison.nemenyi.critical_difference:.2f}" in figure.svg
    assert critical_difference.figure(over(4), settings, look, "c", simulated=False) is None


def test_bars_of_one_line_do_not_touch():
    rng = np.random.default_rng(1)
    low = np.sort(rng.uniform(1, 8, 12))
    placed = critical_difference.levels(list(zip(low, low + rng.uniform(0.5, 3, 12), strict=True)))
    for k, (first, last, level) in enumerate(placed):
        assert all(b < first or last < a for a, b, other in placed[:k] if other == level)
    deepest = max(sum(first <= at <= last for first, last, _ in placed) for at in low)
    assert len({level for _, _, level in placed}) == deepest, "no more lines than bars above one another"


def test_expected_holds_the_posteriors(settings, look):
    of = over(3)
    figure = expected.figure(of, settings, look, "e", simulated=False)
    assert figure.data["mean_mean"].is_monotonic_decreasing and "prior weighs heavily" in figure.caption
    for _, row in figure.data.iterrows():
        known = of.posteriors[row["model"]]
        assert tuple(row[["worse", "equivalent", "better"]]) == known.new_rope
        assert (row["mean_mean"], row["next_low"], row["next_high"]) == (known.mu.mean, known.new.low, known.new.high)
        assert row["better_greatest"] == max(0.5, known.new_rope.right) and row["baseline"] == "none"
    alone = posterior(np.array([0.1]), np.array([0.01]), rope=0.02)
    unknown = dataclasses.replace(of, posteriors={"SE": alone})
    assert expected.figure(unknown, settings, look, "e", simulated=False) is None


def test_long_names_take_two_lines():
    assert rows.wrapped("CBAM \u00b7 resnet18") == "CBAM \u00b7 resnet18"
    assert rows.wrapped("Coordinate \u00b7 resnet18 \u00b7 stage") == "Coordinate\nresnet18 \u00b7 stage"
    lines = rows.wrapped("own:" + "x" * 60).split("\n")
    assert len(lines) <= 2 and all(len(line) <= rows.NAME_WIDTH for line in lines)
