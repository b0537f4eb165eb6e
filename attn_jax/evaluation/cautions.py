"""What a reader must know before any number of a panel."""

from collections.abc import Iterator

import numpy as np

from attn_jax.evaluation import subgroups
from attn_jax.evaluation.intervals import FEWEST_OF_A_KIND
from attn_jax.evaluation.panel import Panel
from attn_jax.evaluation.resampled import seeds
from attn_jax.evaluation.thresholds import FALLBACK

VERY_FEW = 20
_MOST_NAMED = 3


def cautions(panel: Panel) -> tuple[str, ...]:
    """Whole sentences, those about the images first."""
    return tuple((*_images(panel), *panel.notes, *_thresholds(panel), *_columns(panel), *_seeds(panel)))


def _images(panel: Panel) -> Iterator[str]:
    if panel.left_out:
        yield f"{panel.left_out} test images that some models lack are left out."
    if panel.patients is None:
        yield "No patients are named: each image counts as a patient of its own."
    if int(panel.cluster.max()) == 0:
        yield "All test images show one patient: nothing tells how far others would move the numbers."
    if panel.first.binary and panel.first.assumed and panel.first.positive is not None:
        name = panel.first.classes[panel.first.positive]
        yield f"The positive class is taken to be {name!r}, the second score: no file names it in a column 'positive'."
    fewest = _fewest(panel)
    absent = {of: kind for of, (count, kind) in fewest.items() if not count}
    few = {of: found for of, found in fewest.items() if 0 < found[0] < FEWEST_OF_A_KIND}
    if absent and panel.first.binary:
        (kind,) = absent.values()
        yield f"No test image has a {kind} label: AUC and all else that needs both kinds is undefined."
    elif absent:
        said = _listed([f"{of} ({kind})" for of, kind in absent.items()])
        what = "means over findings leave these out where they are undefined"
        if panel.first.kind == "single":
            what = "what is a mean over classes, AUC too, is undefined"
        yield f"No test image has a label of {said}: {what}."
    if few:
        who = "image" if panel.patients is None else "patient"
        if panel.first.binary:
            ((count, kind),) = few.values()
            said = f"{count} {who}{'' if count == 1 else 's'} with a {kind} label"
        else:
            named = _listed([f"{of} ({count} {kind})" for of, (count, kind) in few.items()])
            said = f"Fewer than {FEWEST_OF_A_KIND} {who}s of {named}"
        are = "are" if min(count for count, _ in few.values()) < VERY_FEW else "may be a little"
        yield f"{said}: intervals {are} too narrow, t tests and DeLong's find too much; the permutation test holds."


def _fewest(panel: Panel) -> dict[str, tuple[int, str]]:
    """By question (of two classes one; else each class or finding) how many patients have an image of the rarer label,
    and which that is."""
    first = panel.first
    found = {}
    for k, name in enumerate(first.classes):
        if first.binary and k != first.positive:
            continue
        positive = panel.label == k if first.kind == "single" else panel.label[:, k] == 1
        negative = ~positive if first.kind == "single" else panel.label[:, k] == 0
        kinds = (("positive", positive), ("negative", negative))
        found[name] = min((len(np.unique(panel.cluster[rows])), kind) for kind, rows in kinds)
    return found


def _thresholds(panel: Panel) -> Iterator[str]:
    """Where 0.5 had to do for a threshold, by reason and class."""
    found: dict[tuple[str, str], list[str]] = {}
    for model, runs in panel.runs.items():
        for run in runs.values():
            for name, reason in run.fallback.items():
                found.setdefault((name, reason.partition(":")[0]), []).append(model)
    total = sum(len(runs) for runs in panel.runs.values())
    by_reason: dict[tuple[str, str], list[str]] = {}
    for (name, reason), models in found.items():
        who = "all models" if len(models) == total else _listed(list(dict.fromkeys(models)))
        by_reason.setdefault((reason, who), []).append(name)
    for (reason, who), names in by_reason.items():
        of = "" if panel.first.binary else f" of {_listed(names)}"
        yield f"Decisions{of} of {who} fall at {FALLBACK}, not at a chosen threshold: {reason}."


def _columns(panel: Panel) -> Iterator[str]:
    found = [f"{name} ({count} values)" for name, count in subgroups.passed_over(panel)]
    if found:
        yield f"No subgroups by {_listed(found)}: they need 2 to {subgroups.MOST_GROUPS} values; write ranges."


def _seeds(panel: Panel) -> Iterator[str]:
    fewest = min(len(seeds(panel, model)) for model in panel.models)
    if fewest == 1:
        yield "One seed: intervals tell how far other patients would move the numbers, not how far retraining would."
    elif fewest < 6:
        yield f"{fewest} seeds: their spread is known roughly, so that intervals over seeds are wide."


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"
