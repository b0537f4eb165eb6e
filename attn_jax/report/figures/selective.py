"""Selective prediction: accuracy on the images a model is surest of, against the share of images it keeps."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from attn_jax.evaluation.evidence import OnDataset, Settings, ranked
from attn_jax.evaluation.panel import Panel, Run
from attn_jax.evaluation.selective import accuracy_at_coverage, risk_coverage
from attn_jax.evaluation.trust import doubts
from attn_jax.report.figures.drawing import Figure, canvas, curve, finish, legend_below
from attn_jax.report.figures.palette import FAINT, Look
from attn_jax.report.numbers import fixed, plural

COVERAGES = np.arange(10, 101) / 100
_SAID = 80


def figure(
    panel: Panel, found: OnDataset, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool
) -> Figure | None:
    """Means over seeds, all models in one pair of axes; None for findings, several an image."""
    if panel.first.kind != "single":
        return None
    order = ranked(found.models, settings.metric)
    curves = {model: accuracy(panel, model) for model in order}
    with canvas(4.4, 3.2 + 0.1 * sum(not style.faint for style in look.values())) as (sheet, axes):
        handles = []
        for model in sorted(order, key=lambda model: not look[model].faint):
            label = f"{model}  {fixed(found.models[model].trust.numbers[f'accuracy_at_{_SAID}'])}"
            drawn = curve(axes, COVERAGES, curves[model], label, look[model], order.index(model))
            handles += [] if look[model].faint else [(order.index(model), drawn)]
        axes.axvline(_SAID / 100, color=FAINT, linewidth=0.8, zorder=1)
        axes.margins(x=0.01)
        axes.set(xlabel="Coverage (share of images kept, the surest first)", ylabel="Accuracy on these")
        legend_below(sheet, [drawn for _, drawn in sorted(handles, key=lambda of: of[0])])
        named = [model for model in order if not look[model].faint]
        return finish(
            sheet,
            name,
            "Accuracy against coverage",
            _caption(panel, len(order) - len(named)),
            _data(curves),
            alternative=_alternative(found, named, curves),
            simulated=simulated,
            wide=True,
        )


def accuracy(panel: Panel, model: str) -> Float[np.ndarray, "91"]:
    """Accuracy at `COVERAGES`, the mean over the model's seeds."""
    return np.mean([_curve(run) for run in panel.runs[model].values()], axis=0)


def _curve(run: Run) -> np.ndarray:
    curve = risk_coverage(*doubts(run))
    assert curve is not None, "a panel has images"
    return accuracy_at_coverage(curve, tuple(COVERAGES.tolist()))


def _caption(panel: Panel, hidden: int) -> str:
    sure = "distance to the threshold chosen on validation" if panel.first.binary else "the highest probability"
    text = (
        f"Means over seeds. Sureness: {sure}; images of equal sureness count at their mean. A good order rises to the"
        f" left. The legend gives the accuracy on the surest {_SAID}\u00a0%."
    )
    return f"{text} Grey: {plural(hidden, 'further model')}, named in the CSV." if hidden else text


def _alternative(found: OnDataset, named: list[str], curves: Mapping[str, np.ndarray]) -> str:
    said = []
    for model in named:
        kept = fixed(found.models[model].trust.numbers[f"accuracy_at_{_SAID}"])
        said.append(f"{model} {kept}, on all {fixed(float(curves[model][-1]))}")
    where = f" on {found.dataset}" if found.dataset else ""
    return f"Accuracy on the surest images{where}; on {_SAID}\u00a0% of them: {'; '.join(said)}."


def _data(curves: Mapping[str, np.ndarray]) -> pd.DataFrame:
    frames = [pd.DataFrame({"model": model, "coverage": COVERAGES, "accuracy": of}) for model, of in curves.items()]
    return pd.concat(frames, ignore_index=True)
