"""One look a mechanism in every figure: colour, marker and dash together, so that colour is never the only sign."""

import dataclasses
from collections.abc import Sequence

from attn_jax.report.arms import Comparison

# On white and on dark ground each has a contrast of 3:1 or more, and neighbours differ to colour-blind eyes.
LIGHT = ("#0072B2", "#C84E00", "#007F5F", "#A8327E", "#8A6100", "#4B45C6", "#0B7A93")
DARK = ("#5DB7F0", "#FF8F57", "#37CFA0", "#F28DC6", "#E6B93C", "#A9A2FF", "#74D3EA")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[object, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
INK = "#1B2230"
FAINT = "#8A93A3"
GRID = "#D9DEE6"


@dataclasses.dataclass(frozen=True)
class Look:
    """How the lines and points of one arm are drawn."""

    colour: str
    marker: str
    dash: object
    faint: bool = False


def looks(comparison: Comparison, attentions: Sequence[str]) -> dict[str, Look]:
    """A look for each arm's label. Colour and marker belong to the mechanism, the dash to what else differs.

    `attentions` are all mechanisms of the study, so that one keeps its colour over every data set; the baseline is ink.
    """
    ranked = [name for name in attentions if name != comparison.baseline]
    variants = list(dict.fromkeys(arm.others for arm in comparison.arms))
    found = {}
    for arm in comparison.arms:
        turn = variants.index(arm.others)
        if comparison.is_baseline(arm):
            found[arm.label] = Look(INK, "o", DASHES[(turn + 1) % len(DASHES)])
        else:
            place, around = ranked.index(arm.attention) % len(LIGHT), ranked.index(arm.attention) // len(LIGHT)
            marker = MARKERS[(place + 1 + 3 * around) % len(MARKERS)]
            found[arm.label] = Look(LIGHT[place], marker, DASHES[(turn + around) % len(DASHES)])
    shown = {arm.label for arm in comparison.shown}
    return {label: look if label in shown else Look(FAINT, look.marker, "-", True) for label, look in found.items()}
