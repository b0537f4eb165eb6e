"""From `config.data` to arrays: images decoded once, near-duplicates found, sides assigned, facts for the report."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from attn_jax.data import cache, sources
from attn_jax.data.collect import collect
from attn_jax.data.splits import SplitReport, assign
from attn_jax.errors import UserError, did_you_mean

_NEGATIVE_WORDS = frozenset(("normal", "no", "none", "healthy", "benign", "negative", "neg", "control", "controls"))
_FIXED = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A data set ready for training and evaluation.

    Attributes:
      name: what tables call it.
      classes: classes, or findings when `kind` is "multilabel".
      kind: one class per image, or any number of findings.
      simulated: the images are phantoms.
      ordinal: the classes are grades in rising order.
      positive: of two classes, the index of the one to detect; else None.
      image_ids: str `[N]`.
      labels: int32 `[N]`, or float32 `[N, K]` with nan for unknown.
      groups: str `[N]`, the patient, or the image itself where that is unknown; None when no image has one.
      columns: further facts, one row an image.
      images: uint8 or uint16 `[N, *space, C]`, in memory or mapped from the cache, read-only.
      masks: uint8 `[N, *space]` of 0 and 1, or None when no image has one.
      has_mask: bool `[N]`.
      split: "train", "val", "test" or "dropped", `[N]`.
      digest: SHA-256 of the content at working size, whatever its path.
      summary: JSON-able facts for the report.
    """

    name: str
    classes: tuple[str, ...]
    kind: Literal["single", "multilabel"]
    simulated: bool
    ordinal: bool
    positive: int | None
    image_ids: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    columns: pd.DataFrame
    images: np.ndarray
    masks: np.ndarray | None
    has_mask: np.ndarray
    split: np.ndarray
    digest: str
    summary: dict[str, Any]

    def rows(self, split: str) -> np.ndarray:
        """Positions of the images of one side, ascending."""
        return np.flatnonzero(self.split == split)


def prepare(options: Mapping[str, Any], cache_dir: Path) -> Prepared:
    """Reads the data set that `config.data` describes, from the cache when nothing has changed since.

    Without `data.path`, simulated images of `data.phantom` take its place.

    Args:
      options: the fields of `config.data`.
      cache_dir: folder for decoded images; processes may share it.

    Raises:
      UserError: an option is wrong, an image is bad while `data.on_bad` is "error", or a class is too small to split.
    """
    options = _plain(options)
    for field, allowed in (("cache", ("auto", "memory", "disk")), ("on_bad", ("error", "skip")), ("channels", (1, 3))):
        if options[field] not in allowed:
            raise UserError(f"data.{field}={options[field]!r} must be one of {', '.join(map(str, allowed))}")
    if options["image_size"] < 1:
        raise UserError(f"data.image_size={options['image_size']} must be a positive number of pixels")
    stands_in = not options["path"] and options["source"] != "phantom"
    if stands_in:
        options |= {"source": "phantom", "positive": ""}
    folder = Path(cache_dir) / cache.key(options, Path(cache_dir))
    content = cache.load(folder, options["cache"])
    if content is None:
        dataset = sources.load(options)
        space = 3 if options["volume"] else 2
        size, channels, on_bad = options["image_size"], options["channels"], options["on_bad"]
        with cache.publish(folder) as draft:
            collect(dataset, draft, size=size, channels=channels, space=space, on_bad=on_bad)
        content = cache.load(folder, options["cache"])
        if content is None:
            raise OSError(f"{folder} was written and cannot be read again; is the disk full or failing?")
    return _assemble(content, options)


def normalisation(prepared: Prepared, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel, float32 `[C]`, of images scaled to [0, 1].

    Args:
      prepared: the data set.
      how: "dataset" (its training pixels), "imagenet" (grey images take the mean of the three), or "half".
    """
    if how == "dataset":
        mean, std = prepared.summary["mean"], prepared.summary["std"]
    elif how in _FIXED:
        mean, std = _FIXED[how]
        if prepared.images.shape[-1] == 1:
            mean, std = np.mean(mean, keepdims=True), np.mean(std, keepdims=True)
    else:
        raise UserError(f"data.normalize={how!r} is unknown.{did_you_mean(how, ('dataset', *_FIXED))}")
    return np.asarray(mean, np.float32), np.maximum(np.asarray(std, np.float32), np.float32(1e-3))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as nested dicts, whatever kind of mapping they came in."""
    return {name: _plain(value) if hasattr(value, "items") else value for name, value in options.items()}


def _assemble(content: cache.Content, options: Mapping[str, Any]) -> Prepared:
    facts, wanted = content.facts, options["split"]
    # Simulated images are drawn one by one, so that two that look alike are no copies.
    use_clusters = wanted["duplicates"] and not facts["simulated"]
    classes = tuple(facts["classes"])
    split, report = assign(
        content.labels,
        content.groups,
        content.official if wanted["official"] else None,
        content.clusters if use_clusters else None,
        seed=wanted["seed"],
        val=wanted["val"],
        test=wanted["test"],
        folds=wanted["folds"],
        fold=wanted["fold"],
        classes=classes,
    )
    positive, notes = _positive(classes, facts["kind"], options["positive"])
    has_mask = _of_one_finding(content, notes)
    return Prepared(
        name=facts["name"],
        classes=classes,
        kind=facts["kind"],
        simulated=facts["simulated"],
        ordinal=facts["ordinal"],
        positive=positive,
        image_ids=content.image_ids,
        labels=content.labels,
        groups=content.groups,
        columns=pd.DataFrame(facts["columns"], index=range(len(content.labels)), dtype=str),
        images=content.images,
        masks=content.masks,
        has_mask=has_mask,
        split=split,
        digest=content.digest,
        summary=_summary(content, options, split, report, positive, has_mask, notes),
    )


def _of_one_finding(content: cache.Content, notes: list[str]) -> np.ndarray:
    """Which masks are known to be about what the image is explained for: of several findings, those of images with one;
    adds a note where others are not used."""
    if content.labels.ndim == 1 or content.labels.shape[1] == 1:
        return content.has_mask
    kept = content.has_mask & ((content.labels == 1).sum(axis=1) == 1)
    if unused := int((content.has_mask & ~kept).sum()):
        notes.append(
            f"The masks or boxes of {unused} images are not used: nothing says which of an image's findings they show,"
            " so that only those of images with one finding are."
        )
    return kept


def _positive(classes: tuple[str, ...], kind: str, asked: str) -> tuple[int | None, list[str]]:
    """The class to detect, when there are two, and a note when it was guessed otherwise than by order."""
    if asked and asked not in classes:
        raise UserError(f"data.positive={asked!r} is no class of the data.{did_you_mean(asked, classes)}")
    if kind != "single" or len(classes) != 2:
        return None, []
    if asked:
        return classes.index(asked), []
    words = set(re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", classes[1]).lower()))
    if words & _NEGATIVE_WORDS or any(word.startswith("non") for word in words):
        note = f"{classes[0]!r} was taken as the positive class, since {classes[1]!r} sounds negative (data.positive)."
        return 0, [note]
    return 1, []


def _summary(
    content: cache.Content,
    options: Mapping[str, Any],
    split: np.ndarray,
    report: SplitReport,
    positive: int | None,
    has_mask: np.ndarray,
    notes: list[str],
) -> dict[str, Any]:
    facts = content.facts
    sides = [side for side in ("train", "val", "test", "dropped") if side != "dropped" or report.dropped]
    holds = (
        content.labels == 1 if content.labels.ndim == 2 else np.eye(len(facts["classes"]), dtype=bool)[content.labels]
    )
    trained = content.moments[split == "train"] if (split == "train").any() else content.moments
    mean, mean_square = trained.mean(0)
    return {
        "name": facts["name"],
        "source": options["source"],
        "path": Path(options["path"]).name,
        "simulated": facts["simulated"],
        "kind": facts["kind"],
        "classes": facts["classes"],
        "positive": None if positive is None else facts["classes"][positive],
        "images": len(split),
        "split_sizes": {side: int((split == side).sum()) for side in sides},
        "counts": {
            name: {side: int(holds[split == side, at].sum()) for side in sides}
            for at, name in enumerate(facts["classes"])
        },
        "groups": None if content.groups is None else len(np.unique(content.groups)),
        "sizes": dict(
            zip(("min", "median", "max"), np.quantile(content.sizes, (0, 0.5, 1), axis=0).tolist(), strict=True)
        ),
        "modes": facts["modes"],
        "masks": int(has_mask.sum()),
        "skipped": facts["skipped"],
        "bad_masks": facts["bad_masks"],
        "clusters": {
            "count": report.clusters,
            "images": report.clustered_images,
            "largest": report.largest_cluster,
        },
        "leaked_naive": report.leaked_naive,
        "dropped": report.dropped,
        "official": report.official,
        "notes": [*report.notes, *notes],
        "image_size": options["image_size"],
        "channels": options["channels"],
        "dtype": content.images.dtype.name,
        "mean": mean.tolist(),
        "std": np.sqrt(np.maximum(mean_square - np.square(mean), 0)).tolist(),
    }
