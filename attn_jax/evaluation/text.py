"""Evidence as plain text for a terminal: effects first, then intervals, then tests."""

from collections.abc import Iterable, Iterator, Sequence

from attn_jax.evaluation import shown
from attn_jax.evaluation.across import Across
from attn_jax.evaluation.comparing import Contest
from attn_jax.evaluation.evidence import OnDataset, Settings, ranked
from attn_jax.evaluation.intervals import Interval

_MOST_NAMED = 6
SHOWN = ("auc", "average_precision", "accuracy", "sensitivity", "specificity", "brier", "ece")


def lines(found: OnDataset, settings: Settings) -> Iterator[str]:
    """What the command prints of one data set."""
    counted = [f"{found.images} test images"]
    counted += [f"{found.patients} patients"] if found.patients is not None else []
    counted += [f"{found.positives} positive"] if found.positives is not None else []
    yield f"{found.dataset or 'predictions'}: {', '.join(counted)}"
    yield from (f"  note: {line}" for line in found.cautions)
    yield ""
    order = ranked(found.models, settings.metric)
    metrics = (settings.metric, *(metric for metric in SHOWN if metric != settings.metric))
    rows = [["model", "seeds", *metrics, *(["letters"] if len(order) > 1 else [])]]
    methods: dict[str, None] = {}
    without: dict[tuple[str, str], list[str]] = {}
    for name in order:
        model, values = found.models[name], []
        for metric in metrics:
            of = model.metrics[metric]
            method, interval = shown.of_value(of, metric, len(model.seeds) > 1)
            methods |= {method: None} if interval else {}
            if of.value is not None and interval is None:
                without.setdefault((metric, shown.why_none(of)), []).append(name)
            values.append(_interval(of.value, interval))
        rows.append([name, str(len(model.seeds)), *values, *([found.letters[name] or "-"] if len(order) > 1 else [])])
    yield from _table(rows)
    yield f"  Means over seeds with {settings.level:.0%} intervals: {_methods(found, methods)}."
    for (metric, why), names in without.items():
        whose = "" if len(names) == len(order) else f" of {_listed(names)}"
        yield f"  No interval of {metric}{whose}: {why}."
    if len(order) > 1:
        yield (
            f"  Models that share a letter are not told apart in {settings.metric} (Holm over all pairs), which is not"
            " equivalence."
        )
    yield ""
    if found.contests:
        yield from _contests(found, settings)


def _methods(found: OnDataset, names: Iterable[str]) -> str:
    """What intervals are over, and how they are made; without named patients each image is one."""
    words = [name.replace("patients", "images") if found.patients is None else name for name in names]
    return ", ".join(f"over {word}" if "images" in word or "patients" in word else word for word in words) or "none"


def _contests(found: OnDataset, settings: Settings) -> Iterator[str]:
    names = [test.name for test in found.contests[0].tests]
    rows = [[f"{settings.metric} less {found.baseline}", "difference", *names, "verdict"]]
    for contest in found.contests:
        effect = contest.effects[settings.metric]
        verdict = contest.equivalence.verdict if contest.equivalence else effect.reason
        name = f"{contest.first} (seeds unpaired)" if effect.unpaired else contest.first
        rows.append([name, _interval(effect.value, shown.of_difference(effect)[1], "+"), *_p(contest), verdict])
    yield from _table(rows)
    tested = [sum(contest.tests[k].p is not None for contest in found.contests) for k in range(len(names))]
    sizes = " or ".join(map(str, sorted(set(tested) - {0})))
    yield f"  p adjusted by Holm over {sizes or 'no'} comparisons; margin of equivalence {settings.margin:g}."
    yield from (f"  {line}" for line in shown.other_seeds(found, settings.metric))
    reasons = dict.fromkeys(f"{test.name}: {test.reason}" for of in found.contests for test in of.tests if test.reason)
    yield from (f"  {reason}." for reason in reasons)
    yield ""


def across_lines(together: Across | str, settings: Settings) -> Iterator[str]:
    """What the command prints of all data sets together, or why there is nothing."""
    if isinstance(together, str):
        yield from ([f"no comparison over data sets: {together}"] if together else [])
        return
    found = together
    ranks = sorted(zip(found.comparison.ranks.tolist(), found.models, strict=True))
    yield f"over {len(found.datasets)} data sets, {settings.metric}"
    yield f"  average ranks: {', '.join(f'{name} {rank:.2f}' for rank, name in ranks)}"
    friedman, nemenyi = found.comparison.friedman, found.comparison.nemenyi
    if friedman.f_p is not None and nemenyi.critical_difference is not None:
        yield f"  Iman and Davenport's F: p {friedman.f_p:.4f}; critical difference {nemenyi.critical_difference:.2f}"
    else:
        yield f"  no test of all models over data sets: {friedman.undefined.get('f_p', nemenyi.reason)}"
    pairs = found.comparison.against_baseline
    if pairs is not None and pairs.pairs:
        told = ", ".join(f"{found.models[of.second]} {_number(of.adjusted)}" for of in pairs.pairs)
        yield (
            f"  Wilcoxon over data sets against {found.baseline}, p adjusted by Holm: {told}"
            f" ({pairs.smallest_p:.4f} before adjustment is the least that {len(found.datasets)} data sets can give)"
        )
    heads = ["mean", "next data set", "P worse", "P equivalent", "P better", "under other priors, P better"]
    rows = [[f"expected difference to {found.reference}", *heads]]
    for name, of in found.posteriors.items():
        if of.mu is not None and of.new is not None and of.new_rope is not None:
            shares = [f"{share:.2f}" for share in of.new_rope]
            spans = [f"{s.mean:+.3f} ({s.low:+.3f} to {s.high:+.3f})" for s in (of.mu, of.new)]
            better = [chance.right for chance in found.chances[name].values()]
            rows.append([name, *spans, *shares, f"{min(better):.2f} to {max(better):.2f}"])
    yield from _table(rows) if len(rows) > 1 else ()


def _p(contest: Contest) -> list[str]:
    return [_number(p) for p in contest.adjusted]


def _number(p: float | None) -> str:
    return "-" if p is None else f"{p:.4f}" if p >= 0.0001 else "<0.0001"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _interval(value: float | None, interval: Interval | None, sign: str = "") -> str:
    if value is None:
        return "-"
    text = f"{value:{sign}.3f}"
    return text if interval is None else f"{text} ({interval.low:{sign}.3f} to {interval.high:{sign}.3f})"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
