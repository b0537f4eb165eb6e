"""How much of the doubt about each model is retraining and how much is patients: its seeds, and two intervals."""

from collections.abc import Mapping

import pandas as pd

from attn_jax.evaluation.evidence import Model, OnDataset, Settings, ranked
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.resampled import BY, OF_VALUES
from attn_jax.report.figures.drawing import Figure, canvas, finish
from attn_jax.report.figures.palette import Look
from attn_jax.report.figures.rows import beside, drawn, frame, percent, rows, within
from attn_jax.report.numbers import fixed, metric_title, plural


def figure(
    found: OnDataset, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool
) -> Figure | None:
    """One row a model, the best first; None where no model has several seeds and a value."""
    metric = settings.metric
    shown = [model for model in ranked(found.models, metric) if found.models[model].metrics[metric].value is not None]
    if all(len(found.models[model].seeds) < 2 for model in shown):
        return None
    title = metric_title(metric)
    lying = rows(shown, look)
    with canvas(5.4, 0.95 + 0.36 * lying.height) as (sheet, axes):
        frame(axes, lying, look)
        for model in shown:
            _row(axes, lying.at[model], found.models[model], metric, look[model])
        axes.margins(x=0.04)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(title)
        return finish(
            sheet,
            name,
            f"{title}: doubt from seeds and from {drawn(False, found.patients)}",
            _caption(found, settings, look),
            _data(found, shown, metric),
            alternative=_alternative(found, metric, [model for model in shown if not look[model].faint]),
            simulated=simulated,
            wide=True,
        )


def _intervals(model: Model, metric: str) -> tuple[Interval | None, Interval | None]:
    """Over patients, and over seeds and patients (None of one seed)."""
    patients, both = (model.metrics[metric].intervals.get(f"{by} {OF_VALUES}") for by in BY)
    return patients, both if len(model.seeds) > 1 else None


def _row(axes, y: float, model: Model, metric: str, style: Look) -> None:
    value = model.metrics[metric]
    patients, both = _intervals(model, metric)
    size = 0.5 if style.faint else 1.0
    if both is not None:
        line = {"linewidth": 11 * size, "alpha": 0.3, "solid_capstyle": "butt", "zorder": 2}
        axes.plot(both[:2], [y, y], color=style.colour, **line)
    if patients is not None:
        axes.plot(patients[:2], [y, y], color=style.colour, linewidth=1.6 * size, solid_capstyle="butt", zorder=3)
    axes.plot(
        [value.value], [y], style.marker, color=style.colour, markersize=8 * size, markeredgecolor="white", zorder=4
    )
    if style.faint:
        return
    seeds = [seed for seed in value.seeds.values() if seed is not None]
    if len(seeds) > 1:
        axes.plot(seeds, [y + 0.33] * len(seeds), ".", color=style.colour, markersize=4, alpha=0.7)
    spread = "1 seed" if value.sd is None else f"sd {fixed(value.sd)} over {plural(len(seeds), 'seed')}"
    beside(axes, y, f"{within(value.value, both or patients)}\n{spread}")


def _caption(found: OnDataset, settings: Settings, look: Mapping[str, Look]) -> str:
    one, both = (drawn(seeds, found.patients) for seeds in (False, True))
    text = (
        f"Markers: means over seeds. {percent(settings.level)} bootstrap intervals (BCa, {settings.replicates}"
        f" replicates): thin line, over {one}; pale bar, over {both}, so what sticks out is retraining."
        f" Numbers: the wider one. Dots: single seeds."
    )
    hidden = sum(look[model].faint for model in found.models)
    return f"{text} Grey: {plural(hidden, 'further model')}, named in the CSV." if hidden else text


def _alternative(found: OnDataset, metric: str, named: list[str]) -> str:
    said = []
    for name in named:
        patients, both = _intervals(found.models[name], metric)
        value = found.models[name].metrics[metric].value
        retrained = f", with seeds {fixed(both.low)} to {fixed(both.high)}" if both else ""
        said.append(f"{name} {within(value, patients)}{retrained}")
    where = f" on {found.dataset}" if found.dataset else ""
    return f"{metric_title(metric)}{where} with intervals over {drawn(False, found.patients)}: {'; '.join(said)}."


def _data(found: OnDataset, shown: list[str], metric: str) -> pd.DataFrame:
    lines = []
    for name in shown:
        model = found.models[name]
        ends = [end for of in _intervals(model, metric) for end in (of or (None, None))[:2]]
        value = model.metrics[metric]
        lines += [(name, seed, of, value.value, value.sd, *ends) for seed, of in value.seeds.items()]
    bounds = ["patients_low", "patients_high", "seeds_and_patients_low", "seeds_and_patients_high"]
    return pd.DataFrame(lines, columns=["model", "seed", metric, f"{metric}_mean", f"{metric}_sd", *bounds])
