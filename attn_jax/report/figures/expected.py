"""What the next data set should show: posteriors of differences to the baseline, and how likely they are to matter."""

from collections.abc import Mapping

import pandas as pd

from attn_jax.evaluation.across import TAU_SCALES, Across
from attn_jax.evaluation.evidence import Settings
from attn_jax.evaluation.hierarchical import TAU_SCALE, Posterior, Rope
from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.report.figures.drawing import Figure, canvas, finish
from attn_jax.report.figures.palette import FAINT, INK, Look
from attn_jax.report.figures.rows import frame, percent, rows
from attn_jax.report.numbers import metric_title, plural, signed

LEVEL = 0.95
"""Of the intervals of `hierarchical.Summary`."""


def figure(found: Across, settings: Settings, look: Mapping[str, Look], name: str, *, simulated: bool) -> Figure | None:
    """One row a model, the highest expectation first; None where no model has a posterior of the next data set."""
    known = {model: of for model, of in found.posteriors.items() if of.new and of.mu and of.new_rope}
    known = dict(sorted(known.items(), key=lambda of: -of[1].mu.mean))  # type: ignore[union-attr]
    if not known:
        return None
    title = metric_title(settings.metric)
    lying = rows(list(known), look)
    ratio = {"width_ratios": (1.5, 1), "sharey": True}
    with canvas(5.4, 1.15 + 0.36 * lying.height, ncols=2, **ratio) as (sheet, (axes, chances)):
        frame(axes, lying, look)
        axes.axvspan(-settings.margin, settings.margin, color=FAINT, alpha=0.16, linewidth=0, zorder=0)
        axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        for model, of in known.items():
            _row(axes, lying.at[model], of, look[model])
            _bar(chances, lying.at[model], of.new_rope, _range(found, model), look[model])
        axes.margins(x=0.04)
        axes.locator_params(axis="x", nbins=5)
        turned = "\u2212" if settings.metric in LOWER_IS_BETTER else ""
        axes.set_xlabel(f"\u2190 worse   {turned}\u0394 {title}   better \u2192")
        chances.set(xlim=(0, 1), xlabel="worse / equivalent / better")
        chances.set_xticks([0, 0.5, 1], ["0", "50\u00a0%", "100\u00a0%"])
        chances.tick_params(axis="y", length=0, labelleft=False)
        chances.grid(False)
        chances.spines["left"].set_visible(False)
        hidden = sum(look[model].faint for model in known)
        return finish(
            sheet,
            name,
            f"Differences in {title} to {found.reference} on the next data set",
            _caption(found, settings, hidden),
            _data(found, known),
            alternative=_alternative(found, title, {m: of for m, of in known.items() if not look[m].faint}),
            simulated=simulated,
            wide=True,
        )


def _row(axes, y: float, of: Posterior, style: Look) -> None:
    assert of.mu is not None and of.new is not None
    size = 0.5 if style.faint else 1.0
    axes.plot([of.new.low, of.new.high], [y, y], color=style.colour, linewidth=1.2 * size, zorder=2)
    wide = {"linewidth": 5 * size, "solid_capstyle": "butt", "alpha": 0.55, "zorder": 3}
    axes.plot([of.mu.low, of.mu.high], [y, y], color=style.colour, **wide)
    point = {"markersize": 8 * size, "markeredgecolor": "white", "zorder": 4}
    axes.plot([of.mu.mean], [y], style.marker, color=style.colour, **point)


def _bar(axes, y: float, of: Rope | None, better: tuple[float, float], style: Look) -> None:
    """Worse in ink, equivalent pale, better in full colour, and the numbers above."""
    assert of is not None
    height, middle = (0.26, y) if style.faint else (0.5, y + 0.12)
    left = 0.0
    for share, colour, alpha in ((of.left, INK, 0.75), (of.inside, style.colour, 0.25), (of.right, style.colour, 0.9)):
        axes.barh(middle, share, left=left, height=height, color=colour, alpha=alpha, linewidth=0, zorder=2)
        left += share
    if not style.faint:
        axes.text(0, y - 0.18, f"{_shares(of)}; better {_span(better)}", fontsize=7.5, va="bottom")


def _shares(of: Rope) -> str:
    return f"{100 * of.left:.0f} / {100 * of.inside:.0f} / {100 * of.right:.0f}\u00a0%"


def _range(found: Across, model: str) -> tuple[float, float]:
    """The least and the greatest chance of better under the priors."""
    chances = [of.right for of in found.chances[model].values()]
    return min(chances), max(chances)


def _span(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f}\u00a0%"


def _caption(found: Across, settings: Settings, hidden: int) -> str:
    text = (
        f"Normal hierarchical model over {len(found.datasets)} data sets. Marker and thick bar: the mean difference"
        f" over data sets like these and its {percent(LEVEL)} posterior interval; thin line: that of the difference on"
        " the next one. Right: the probability that this one is worse (dark), equivalent (pale) or better (full) by"
        f" the margin \u00b1{settings.margin:g} (band); after it the range of the last one with priors of scale"
        f" {TAU_SCALES[0]:g} to {TAU_SCALES[-1]:g} on how much data sets vary (drawn: {TAU_SCALE:g})."
    )
    few = " With so few data sets the prior weighs heavily." if len(found.datasets) < 5 else ""
    grey = f" Grey: {plural(hidden, 'further model')}, named in the CSV." if hidden else ""
    return text + few + grey


def _alternative(found: Across, title: str, known: Mapping[str, Posterior]) -> str:
    said = []
    for model, of in known.items():
        assert of.new is not None and of.mu is not None and of.new_rope is not None
        said.append(
            f"{model} {signed(of.mu.mean)}, next {signed(of.new.low)} to {signed(of.new.high)},"
            f" {_shares(of.new_rope)}, better {_span(_range(found, model))}"
        )
    return (
        f"Expected differences in {title} to {found.reference}, and the chances of worse, equivalent and better:"
        f" {'; '.join(said)}."
    )


def _data(found: Across, known: Mapping[str, Posterior]) -> pd.DataFrame:
    lines = []
    for model, of in known.items():
        assert of.mu is not None and of.new is not None and of.new_rope is not None
        ends = [end for part in (of.mu, of.new) for end in (part.mean, part.low, part.high)]
        lines.append((model, found.references[model], *ends, *of.new_rope, *_range(found, model)))
    numbers = [f"{of}_{what}" for of in ("mean", "next") for what in ("mean", "low", "high")]
    bounds = ["better_least", "better_greatest"]
    return pd.DataFrame(lines, columns=["model", "baseline", *numbers, "worse", "equivalent", "better", *bounds])
