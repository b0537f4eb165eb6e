"""How much of the doubt about each model is retraining and how much is patients: its seeds, and both parts of the
standard error."""

import math
from collections.abc import Mapping

import pandas as pd

from attn_jax.evaluation.evidence import Model, OnDataset, Settings, Value, ranked
from attn_jax.evaluation.intervals import Interval
from attn_jax.evaluation.resampled import PATIENTS
from attn_jax.evaluation.shown import of_value
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
    value = model.metrics[metric]
    both = of_value(value, metric, several=True)[1] if len(model.seeds) > 1 else None
    return value.intervals.get(PATIENTS), both


def _errors(value: Value) -> tuple[float, float] | None:
    """The parts of the standard error of the mean: over seeds and over patients."""
    if value.spread is None:
        return None
    return math.sqrt(sum(part.variance for part in value.spread.seeds)), math.sqrt(value.spread.patients.variance)


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
    errors = _errors(value)
    spread = "1 seed" if errors is None else f"errors: seeds {fixed(errors[0])}, patients {fixed(errors[1])}"
    beside(axes, y, f"{within(value.value, both or patients)}\n{spread}")


def _caption(found: OnDataset, settings: Settings, look: Mapping[str, Look]) -> str:
    one, both = (drawn(seeds, found.patients) for seeds in (False, True))
    text = (
        f"Markers: means over seeds. {percent(settings.level)} intervals: thin line, over {one} with the seeds as they"
        f" are; pale bar, over {both} (both t on the logit scale, {settings.replicates} replicates). Errors: the parts"
        " of the standard error of the mean, whose squares add up; that over seeds is retraining and what each run"
        f" alone makes of these {one}. Dots: single seeds."
    )
    hidden = sum(look[model].faint for model in found.models)
    return f"{text} Grey: {plural(hidden, 'further model')}, named in the CSV." if hidden else text


def _alternative(found: OnDataset, metric: str, named: list[str]) -> str:
    said = []
    for name in named:
        patients, both = _intervals(found.models[name], metric)
        value = found.models[name].metrics[metric].value
        errors = _errors(found.models[name].metrics[metric])
        retrained = f", with seeds {fixed(both.low)} to {fixed(both.high)}" if both and errors else ""
        retrained += f", error over seeds {fixed(errors[0])}, over patients {fixed(errors[1])}" if errors else ""
        said.append(f"{name} {within(value, patients)}{retrained}")
    where = f" on {found.dataset}" if found.dataset else ""
    return f"{metric_title(metric)}{where} with intervals over {drawn(False, found.patients)}: {'; '.join(said)}."


def _data(found: OnDataset, shown: list[str], metric: str) -> pd.DataFrame:
    lines = []
    for name in shown:
        model = found.models[name]
        ends = [end for of in _intervals(model, metric) for end in (of or (None, None))[:2]]
        value = model.metrics[metric]
        parts = _errors(value) or (None, None)
        lines += [(name, seed, of, value.value, value.sd, *parts, *ends) for seed, of in value.seeds.items()]
    bounds = [
        "error_seeds",
        "error_patients",
        "patients_low",
        "patients_high",
        "seeds_and_patients_low",
        "seeds_and_patients_high",
    ]
    return pd.DataFrame(lines, columns=["model", "seed", metric, f"{metric}_mean", f"{metric}_sd", *bounds])
