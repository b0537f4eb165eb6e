"""From a matplotlib figure to files: PNG and SVG on white, and an SVG for the page that follows light and dark."""

import contextlib
import dataclasses
import html
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from attn_jax.report.figures import palette
from attn_jax.report.figures.rows import shortened

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "attn_jax",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": palette.FAINT,
    "axes.labelcolor": palette.INK,
    "axes.titlecolor": palette.INK,
    "text.color": palette.INK,
    "xtick.color": palette.FAINT,
    "ytick.color": palette.FAINT,
    "xtick.labelcolor": palette.INK,
    "ytick.labelcolor": palette.INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": palette.GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_VARIABLES = {palette.INK: "var(--ink)", palette.FAINT: "var(--faint)", palette.GRID: "var(--line)"}
_VARIABLES |= {colour: f"var(--series-{index})" for index, colour in enumerate(palette.LIGHT)}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture made of numbers: `inline` for the page, `svg` and `png` as files, `data` it was drawn from."""

    name: str
    title: str
    caption: str
    inline: str
    svg: str
    png: bytes
    data: pd.DataFrame
    wide: bool


@contextlib.contextmanager
def canvas(width: float = 3.6, height: float = 2.9, **panels: Any) -> Iterator[tuple]:
    """A figure and its axes in the page's style; sizes in inches. No window, no pyplot state.

    `panels` are those of matplotlib's `Figure.subplots`; without any there is one pair of axes.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Sheet

    with matplotlib.rc_context(RC):
        sheet = Sheet(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(sheet)
        yield sheet, sheet.subplots(**panels)


def finish(
    sheet,
    name: str,
    title: str,
    caption: str,
    data: pd.DataFrame,
    *,
    alternative: str,
    simulated: bool,
    wide: bool = False,
) -> Figure:
    """Draws the sheet once as SVG and once as PNG, with the watermark where the data are simulated."""
    import matplotlib

    if simulated:
        watermark(sheet)
        caption = f"Simulated data. {caption}"
        alternative = f"Simulated data. {alternative}"
        data = data.assign(simulated=True)
    vector, raster = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context(RC):
        sheet.draw_without_rendering()
        sheet.set_layout_engine("none")  # the layout holds for both files; finding it again would double the time
        sheet.savefig(vector, format="svg", metadata={"Date": None})
        sheet.savefig(raster, format="png", dpi=200, facecolor="white", metadata={"Title": title})
    svg = _cleaned(vector.getvalue(), name)
    return Figure(name, title, caption, inline(svg, alternative), standalone(svg), raster.getvalue(), data, wide)


def watermark(sheet) -> None:
    """The word SIMULATED across the whole sheet."""
    width, height = sheet.get_size_inches()
    size = 8.5 * min(width, 1.5 * height)
    sheet.text(
        0.5,
        0.5,
        "SIMULATED",
        rotation=28,
        ha="center",
        va="center",
        fontsize=size,
        alpha=0.16,
        weight="bold",
        color=palette.INK,
        zorder=10,
        in_layout=False,
        gid="watermark",
    )


def curve(axes, x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], label: str, style: palette.Look, place: int):
    """A line with a few of its markers, those of neighbours apart (`place` counts the lines); a thin one where faint.

    Returns matplotlib's line, for a legend.
    """
    kinds = {"color": style.colour, "linestyle": style.dash, "label": label}
    if style.faint:
        return axes.plot(x, y, linewidth=0.8, **kinds)[0]
    marks = {"marker": style.marker, "markersize": 6, "markeredgecolor": "white", "markevery": (5 + 2 * place, 22)}
    return axes.plot(x, y, linewidth=1.8, **marks, **kinds)[0]


def legend_below(sheet, handles: Sequence) -> None:
    """A legend under the axes, where it never hides a line; long names lose their ends."""
    labels = [shortened(handle.get_label(), 60) for handle in handles]
    longest = max(map(len, labels), default=0)
    columns = 1 if longest > 24 else 2 if longest > 9 or len(handles) in (2, 4) else 3
    form = {"loc": "outside lower center", "ncols": columns, "handlelength": 2.4, "columnspacing": 1.2}
    sheet.legend(list(handles), labels, **form)


def _cleaned(svg: str, name: str) -> str:
    """Without prologue, metadata and style sheets that would reach out of the figure; ids made unique on a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'<style type="text/css">.*?</style>', "", svg, flags=re.S)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = svg.replace("'DejaVu Sans'", FONTS)
    svg = re.sub(r'\b(?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r"(\d\.\d\d)\d+", r"\1", found[0]), svg)
    return re.sub(r"\n\s*", "\n", svg)


def inline(svg: str, alternative: str) -> str:
    """For the page: colours by name, no name spaces, and an alternative for who does not see it."""
    for colour, variable in _VARIABLES.items():
        svg = re.sub(colour, variable, svg, flags=re.I)
    box = re.search(r'viewBox="([^"]+)"', svg)
    opening = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{html.escape(alternative)}">'
    return opening + svg[svg.index(">") + 1 :]


def standalone(svg: str) -> str:
    """For a file: on white, with the joins the page's style sheet would set."""
    head, body = svg[: svg.index(">")], svg[svg.index(">") + 1 :]
    ground = '<style>*{stroke-linejoin:round;stroke-linecap:butt}</style><rect width="100%" height="100%" fill="#fff"/>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{ground}{body}'
