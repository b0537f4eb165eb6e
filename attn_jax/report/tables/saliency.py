"""How much of the class activation maps lies in the lesion, or on a planted tag, beside what an even map would have."""

from attn_jax.report.arms import Comparison, over
from attn_jax.report.contents import Contents
from attn_jax.report.tables.leaderboard import arm_columns, arm_values
from attn_jax.report.tables.table import Column, Table, number, over_repeats, spread_fields

TITLES = {"lesion": "in the lesion", "tag": "on the planted tag", "tag_absent": "at its place without it"}


def places(contents: Contents, comparison: Comparison, name: str) -> Table | None:
    """One row an arm, two columns a place; None where no place is known."""
    keys = [key for arm in comparison.arms for key in arm.keys]
    known = contents.saliency[contents.saliency["key"].isin(keys)]
    if known.empty:
        return None
    columns = arm_columns(comparison)
    for place in (found := list(dict.fromkeys(known["place"]))):
        title = TITLES.get(place, place)
        columns.append(Column(f"Energy {title}", spread_fields(f"energy_{place}"), "share of the maps that lies there"))
        columns.append(Column("An even map", (f"area_{place}",), "share of the image that the place covers"))
        columns.append(Column("Images", (f"images_{place}",), "test images that have such a place"))
    rows = []
    for arm in comparison.arms:
        own = known[known["key"].isin(arm.keys)]
        row = arm_values(comparison, arm)
        for place in found:
            part = own[own["place"] == place]
            area = float(part["area"].mean()) if len(part) else None
            images = float(part["images"].max()) if len(part) else None
            row += [over_repeats(over(list(part["energy"]), "no map was drawn")), number(area, lambda x: f"{x:.3f}")]
            row.append(number(images, lambda n: f"{n:.0f}"))
        rows.append(tuple(row))
    caption = f"Where the maps lie: {comparison.dataset}. Mean ± standard deviation over {comparison.repeats}s."
    notes = ("Energy is the share of a map's sum: Grad-CAM of the test images at the layer of explain.layer.",)
    return Table(name, caption, tuple(columns), tuple(rows), comparison.simulated, notes)
