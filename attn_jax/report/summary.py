"""The study in words, made from its numbers, claiming no more than they show."""

import dataclasses
from collections.abc import Sequence

from attn_jax.evaluation.metrics import LOWER_IS_BETTER
from attn_jax.report.arms import Arm, Comparison, Spread, difference
from attn_jax.report.contents import REPEATS, Contents
from attn_jax.report.evidence import Judged
from attn_jax.report.numbers import metric_title, plural, spread
from attn_jax.report.words import paragraph


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one comparison says: a heading, the number under it, and the sentences."""

    heading: str
    figure: str
    unit: str
    sentences: tuple[str, ...]
    simulated: bool


def overall(contents: Contents) -> tuple[str, ...]:
    """What was run, what is missing, and what this page does not say."""
    cells = contents.cells
    state = cells["state"].value_counts()
    done, failed = len(contents.done), int(state.get("failed", 0))
    own = cells[cells["tested_on"] == ""]
    what = [plural(own["attention"].nunique(), "mechanism"), plural(own["dataset"].nunique(), "data set")]
    what += [plural(own[axis].nunique(), axis) for axis in REPEATS if axis == "seed" or own[axis].nunique() > 1]
    lines = [f"{', '.join(what)}: {done} of {plural(len(cells), 'cell')} finished."]
    if failed:
        lines.append(f"{plural(failed, 'cell')} failed; the reasons are listed under “Cells”. Means leave them out.")
    left = len(cells) - done - failed
    if left:
        lines.append(f"{plural(left, 'cell is', 'cells are')} not finished; the numbers will change.")
    simulated = [name for name, summary in contents.datasets.items() if summary.simulated]
    if simulated:
        lines.append(f"Simulated images, not patients: {', '.join(simulated)}. They say nothing about clinical images.")
    return tuple(lines)


def finding(comparison: Comparison, judged: Judged | None) -> Finding:
    """The best mean, and what the evidence says of the differences to the baseline."""
    metric, title = comparison.primary, metric_title(comparison.primary)
    images = {result.images for arm in comparison.arms for result in arm.results.values() if result.images}
    tested = [f"Tested on {_range(images)} images."] if images else []
    heading = f"{comparison.dataset} → {comparison.tested_on}" if comparison.tested_on else comparison.dataset
    best = comparison.ranked[0]
    top = best.metric(metric)
    if top.mean is None:
        reason = top.reason or "no value"
        return Finding(heading, "—", title, (*tested, f"{title} is undefined: {reason}."), comparison.simulated)
    if not comparison.same_images:
        tested.append("Not all arms were tested on the same images, so their means cannot be compared.")
    which = "Lowest" if metric in LOWER_IS_BETTER else "Highest"
    sentences = [f"{which} mean {title}: {best.label}, {spread(top.mean, top.sd)} ({_over(top, comparison)})."]
    if judged:
        alone = len(comparison.arms) == 1
        sentences += paragraph(judged) or ([] if alone else [_without_differences(comparison)])
    else:
        sentences += [*_against_baseline(comparison, best), *_claims(comparison)]
    shown = spread(top.mean, top.sd)
    return Finding(heading, shown, f"{title}, {best.label}", (*tested, *sentences), comparison.simulated)


def _range(values: set[int]) -> str:
    return f"{min(values)}" if len(values) == 1 else f"{min(values)} to {max(values)}"


def _over(value: Spread, comparison: Comparison) -> str:
    runs = plural(value.n, comparison.repeats)
    return f"mean ± sd over {runs}" if value.sd is not None else runs


def _against_baseline(comparison: Comparison, best: Arm) -> list[str]:
    metric = comparison.primary
    if comparison.is_baseline(best):
        alone = all(comparison.is_baseline(arm) for arm in comparison.arms)
        return ["Only the baseline has finished." if alone else "It is the baseline: no mechanism has a better mean."]
    reference = comparison.reference(best)
    if reference is None:
        return [f"The baseline ({comparison.baseline}) beside it has not finished, so no difference can be stated."]
    base, delta = reference.metric(metric), difference(best, reference, metric)
    if delta.mean is None:
        return [f"Its difference to the baseline ({reference.label}) cannot be stated: {delta.reason}."]
    words = f"The baseline, {reference.label}, has {spread(base.mean, base.sd)}"
    pairs = plural(delta.n, comparison.repeats)
    words += f": a difference of {spread(delta.mean, delta.sd, sign=True)}, paired over {pairs}."
    return [words]


def _without_differences(comparison: Comparison) -> str:
    if any(comparison.is_baseline(arm) and not arm.control for arm in comparison.arms):
        return "No arm has a difference to the baseline that is defined."
    return f"The baseline, {comparison.baseline}, is not among these arms, so that no difference can be stated."


def _claims(comparison: Comparison) -> list[str]:
    runs = [len(arm.results) for arm in comparison.arms]
    most = max(runs)
    if most == 1:
        return [f"One {comparison.repeats} only: no spread can be stated, and the order of the arms may be chance."]
    uneven = [f"The arms have {min(runs)} to {most} {comparison.repeats}s each."] if min(runs) != most else []
    return [*uneven, f"{plural(most, comparison.repeats)}: no significance claimed."]


def alternatives(comparisons: Sequence[Comparison]) -> str:
    """A warning where the best was picked among many: the best of several means is so by chance too."""
    most = max((sum(not arm.control for arm in c.arms) for c in comparisons), default=0)
    if most < 3:
        return ""
    return f"The best of {most} means is so partly by chance; it was picked after looking."
