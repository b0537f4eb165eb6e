"""Decision curves: what treating by a model's scores gains over treating all and treating none."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from attn_jax.evaluation import replicates
from attn_jax.evaluation.decision_curve import THRESHOLDS, decision_curve, pointwise_interval, replicate_curves
from attn_jax.evaluation.evidence import OnDataset, Settings, ranked
from attn_jax.evaluation.panel import Panel
from attn_jax.report.figures.drawing import Figure, canvas, curve, finish, legend_below
from attn_jax.report.figures.palette import FAINT, INK, Look
from attn_jax.report.figures.rows import drawn, percent
from attn_jax.report.numbers import fixed, metric_title, plural

# How far below 0 the axes reach, as a share of the prevalence: a model that far down is of no use anyway.
_BELOW = 0.25


def figure(
    panel: Panel, found: OnDataset, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool
) -> Figure | None:
    """Means over seeds, all models in one pair of axes; None but for two classes with an image of each."""
    positive = panel.first.positive
    if not panel.first.binary or positive is None:
        return None
    truth = panel.label == positive
    if truth.all() or not truth.any():
        return None
    order = ranked(found.models, settings.metric)
    best, prevalence = order[0], float(truth.mean())
    curves = {model: net_benefit(panel, model) for model in order}
    reference = decision_curve(truth, truth.astype(float))
    assert reference is not None
    low, high = band(panel, best, settings)
    with canvas(4.4, 3.6 + 0.1 * sum(not style.faint for style in look.values())) as (sheet, axes):
        nobody = axes.axhline(0, color=INK, linewidth=0.9, label="treat none")
        (everyone,) = axes.plot(
            THRESHOLDS, reference.treat_all, color=FAINT, linewidth=1.2, linestyle=(0, (4, 2)), label="treat all"
        )
        axes.fill_between(THRESHOLDS, low, high, color=look[best].colour, alpha=0.18, linewidth=0, zorder=1)
        handles = []
        for model in sorted(order, key=lambda model: not look[model].faint):
            line = curve(axes, THRESHOLDS, curves[model], model, look[model], order.index(model))
            handles += [] if look[model].faint else [line]
        top = max(float(np.nan_to_num(high).max()), *(float(of.max()) for of in curves.values()))
        axes.set(xlim=(0, 1), ylim=(-_BELOW * prevalence, 1.05 * top))
        axes.set(xlabel=f"Threshold probability of {panel.first.classes[positive]}", ylabel="Net benefit")
        handles.sort(key=lambda line: order.index(line.get_label()))
        legend_below(sheet, [*handles, everyone, nobody])
        return finish(
            sheet,
            name,
            "Decision curves",
            _caption(found, settings, best, sum(look[model].faint for model in order)),
            _data(curves, reference.treat_all, {best: (low, high)}),
            alternative=_alternative(found, [model for model in order if not look[model].faint], curves, prevalence),
            simulated=simulated,
            wide=True,
        )


def net_benefit(panel: Panel, model: str) -> Float[np.ndarray, "99"]:
    """Net benefit at `THRESHOLDS`, the mean over the model's seeds."""
    return _mean(panel, model, np.ones((1, len(panel.image_id))))[0]


def band(panel: Panel, model: str, settings: Settings) -> Float[np.ndarray, "2 99"]:
    """The pointwise interval of `net_benefit` over replicates of the panel's patients, its seeds as they are."""
    rng = np.random.default_rng(settings.seed)
    draws = replicates.draws(rng, panel.cluster, settings.replicates)
    return pointwise_interval(np.concatenate([_mean(panel, model, weights) for _, weights in draws]), settings.level)


def _mean(panel: Panel, model: str, weights: np.ndarray) -> np.ndarray:
    runs = panel.runs[model].values()
    asked = [(question, run.seen(weights)) for run in runs for question in run.test.outcomes().values()]
    return np.mean([replicate_curves(*question, own).model for question, own in asked], axis=0)


def _caption(found: OnDataset, settings: Settings, best: str, hidden: int) -> str:
    unit = drawn(False, found.patients)
    parts = [
        f"Net benefit per image, means over seeds. Shaded: pointwise {percent(settings.level)} percentile"
        f" interval of {best}, the best by {metric_title(settings.metric)}, from the bootstrap over {unit}"
        f" ({settings.replicates} replicates). The axis ends below 0 where nothing is of use."
    ]
    parts += [f"Grey: {plural(hidden, 'further model')}, named in the CSV."] if hidden else []
    return " ".join(parts)


def _alternative(found: OnDataset, named: list[str], curves: Mapping[str, np.ndarray], prevalence: float) -> str:
    at = int(np.abs(THRESHOLDS - prevalence).argmin())
    said = ", ".join(f"{model} {fixed(curves[model][at])}" for model in named)
    where = f" on {found.dataset}" if found.dataset else ""
    return f"Decision curves{where}; net benefit at threshold {THRESHOLDS[at]:.2f}, the prevalence: {said}."


def _data(
    curves: Mapping[str, np.ndarray], treat_all: np.ndarray, bands: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> pd.DataFrame:
    frames = []
    for model, of in curves.items():
        low, high = bands.get(model, (np.nan, np.nan))
        columns = {"threshold": THRESHOLDS, "net_benefit": of, "treat_all": treat_all, "low": low, "high": high}
        frames.append(pd.DataFrame({"model": model, **columns}))
    return pd.concat(frames, ignore_index=True)
