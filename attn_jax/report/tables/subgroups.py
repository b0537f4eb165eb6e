"""Models on parts of the test images, as a table."""

from attn_jax.evaluation.evidence import ranked
from attn_jax.evaluation.subgroups import FEWEST_PATIENTS
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import count, fixed, metric_title, p_value
from attn_jax.report.tables.table import Column, Table, number, ranged, text


def subgroups(judged: Judged, name: str, *, simulated: bool) -> Table | None:
    """One row a model and group: its value with its interval, and of the column the worst group, the gap and its p."""
    metric, rows = judged.settings.metric, []
    for label in ranked(judged.found.models, metric):
        for of in judged.found.models[label].subgroups:
            for group in of.groups:
                reason = group.caution if group.value is not None else "undefined on these images"
                rows.append(
                    (
                        text(label),
                        text(of.column),
                        text(group.name),
                        number(group.images, count),
                        number(group.fewest, count),
                        ranged(group.value, group.interval, fixed, reason),
                        text("worst" if group.name == of.worst else " "),
                        number(of.gap, fixed, of.reason),
                        number(of.p, p_value, of.reason),
                        number(of.adjusted, p_value, of.reason),
                    )
                )
    if not rows:
        return None
    who = "images" if judged.found.patients is None else "patients"
    level = f"{100 * judged.settings.level:g} %"
    hint = f"{level} interval over {who} by t on the logit scale, seeds as they are"
    columns = (
        Column("Model", ("model",), numeric=False),
        Column("Column", ("column",), numeric=False),
        Column("Group", ("group",), numeric=False),
        Column("Images", ("images",)),
        Column("Fewest", ("fewest",), f"{who} with the label that the fewest have"),
        Column(metric_title(metric), (metric, "low", "high"), hint),
        Column("", ("worst",), numeric=False),
        Column("Gap", ("gap",), "best less worst group"),
        Column("p", ("p",), f"of no gap: {who} of the same labels exchange their groups"),
        Column("p, Holm", ("holm",), "adjusted over the model's columns"),
    )
    caption = f"Subgroups: {judged.found.dataset}. {metric_title(metric)}, mean over seeds."
    notes = (
        "A gap between the best and the worst of several groups is above 0 by chance: p says how often.",
        f"Best and worst are among the groups with {FEWEST_PATIENTS} {who} of each label or more.",
    )
    return Table(name, caption, columns, tuple(rows), simulated, notes)
