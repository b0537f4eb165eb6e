"""Who is trained on and who is tested on: official sides where given, else stratified, with patients kept together.

Images that share a patient or are near-duplicates form one component (connected through either), and a component is
never divided. What an official split has divided is dropped from the earlier side: the test set stays as published.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Float, Int, Shaped
from scipy.sparse import csgraph

from attn_jax.data.stratify import Pool
from attn_jax.errors import UserError

SIDES = ("train", "val", "test")
_TINY_VAL_SHARE, _TINY_VAL_IMAGES = 0.05, 50


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What the report page says about a split.

    Attributes:
      official: the data set's own sides were used.
      clusters: how many clusters of two or more near-duplicates there are.
      clustered_images: how many images lie in them.
      largest_cluster: how many images the largest holds.
      leaked_naive: val and test images that would have shared a patient or a near-duplicate with training, had images
        been dealt singly by the same seed and shares; under an official split, had it been taken as published.
      dropped: images left out because the official split has their patient or near-duplicate on a later side.
      notes: sentences for the reader.
    """

    official: bool
    clusters: int
    clustered_images: int
    largest_cluster: int
    leaked_naive: int
    dropped: int
    notes: tuple[str, ...]


def assign(
    labels: Int[np.ndarray, "N"] | Float[np.ndarray, "N K"],
    groups: Shaped[np.ndarray, "N"] | None,
    official: Shaped[np.ndarray, "N"] | None,
    clusters: Int[np.ndarray, "N"] | None,
    *,
    seed: int,
    val: float,
    test: float,
    folds: int,
    fold: int,
    classes: Sequence[str],
) -> tuple[Shaped[np.ndarray, "N"], SplitReport]:
    """Puts every image on a side.

    Args:
      labels: class indices, or one column per finding (1 present, 0 absent, nan unknown).
      groups: patient of each image; None when unknown.
      official: "train", "val", "test" or "" of each image; None to ignore what the data set's authors chose.
      clusters: near-duplicate cluster of each image; None to ignore them.
      seed: of the split alone.
      val: share of all images for validation.
      test: share of all images for testing, where neither `folds` nor an official split decides it.
      folds: 0 for a hold-out, else the number of folds.
      fold: which fold is the test set.
      classes: names of the classes or findings.

    Returns:
      "train", "val", "test" or "dropped" of each image, and what to report.

    Raises:
      UserError: the shares make no sense, or a class has too few images (or patients) to be on every side.
    """
    if folds and not (folds >= 2 and 0 <= fold < folds):
        raise UserError(f"data.split: folds={folds}, fold={fold}; give two or more folds and a fold below their number")
    held_out = 1 / folds if folds else test
    shares = (1 - val - held_out, val, held_out)
    if min(val, held_out) < 0 or shares[0] <= 0:
        raise UserError(
            f"data.split: val={val} and test={held_out:.3g} must not be negative and leave images to train on"
        )
    pool = Pool(labels, _components(groups, clusters, len(labels)), classes)
    notes: list[str] = []
    has_official = False
    if official is not None and np.isin(official, ("val", "test")).any():
        has_official = True
        if folds:
            raise UserError(
                f"data.split.folds={folds}, but the data set has an official split; set data.split.official=False to "
                "deal all of its images into folds, or data.split.folds=0 to keep it"
            )
        sides = np.where(official == "", "train", official).astype("<U7")
        _join_tiny_validation(sides, notes)
        leaked = _leaked(sides, pool.components)
        _drop_earlier_copies(sides, pool.components, notes)
        _complete(sides, pool, dict(val=val, test=test), seed, notes)
    else:
        naive = np.random.default_rng(seed).permutation(len(labels)) / max(len(labels), 1)
        leaked = _leaked(np.array(SIDES)[np.digitize(naive, np.cumsum(shares)[:2])], pool.components)
        sides = _fresh(pool, shares, seed, folds, fold)
    return sides, _report(sides, clusters, has_official, leaked, notes)


def _fresh(pool: Pool, shares: Sequence[float], seed: int, folds: int, fold: int) -> np.ndarray:
    """A split of our own: hold-out, or one fold for testing and a validation side carved from the others."""
    sides = np.full(len(pool.labels), "train", "<U7")
    rows = np.arange(len(sides))
    if folds:
        part = pool.divide(rows, [1 / folds] * folds, [seed])
        sides[part == fold] = "test"
        _carve(sides, pool, {"train": shares[0], "val": shares[1]}, [seed, 1, fold])
    else:
        _carve(sides, pool, dict(zip(SIDES, shares, strict=True)), [seed])
    return sides


def _carve(sides: np.ndarray, pool: Pool, shares: dict[str, float], seed: Sequence[int]) -> None:
    """Deals the training side anew among the sides of `shares`, in place."""
    names = [side for side, share in shares.items() if share > 0]
    rows = np.flatnonzero(sides == "train")
    sides[rows] = np.array(names)[pool.divide(rows, [shares[side] for side in names], seed)]


def _join_tiny_validation(sides: np.ndarray, notes: list[str]) -> None:
    """Makes a validation set that is too small to choose a threshold on part of the training side, in place."""
    images, training = int((sides == "val").sum()), int((sides == "train").sum())
    if 0 < images < min(_TINY_VAL_IMAGES, _TINY_VAL_SHARE * training):
        sides[sides == "val"] = "train"
        notes.append(
            f"The {images} images of the official validation set, too few to choose a threshold on, joined training."
        )


def _complete(sides: np.ndarray, pool: Pool, shares: dict[str, float], seed: int, notes: list[str]) -> None:
    """Carves what an official split lacks, a validation or a test side, out of its training side."""
    counts = {side: int((sides == side).sum()) for side in SIDES}
    if not counts["train"]:
        notes.append("The data set has no training images; it can only be tested on.")
        return
    missing = {side: shares[side] for side in ("val", "test") if not counts[side]}
    for side, share in missing.items():
        if share:
            notes.append(f"The {'validation' if side == 'val' else side} set was drawn from the official training set.")
    _carve(sides, pool, {"train": 1 - sum(missing.values()), **missing}, [seed])


def _components(groups: np.ndarray | None, clusters: np.ndarray | None, count: int) -> np.ndarray:
    """Component of each image: images are linked through their patient and through their cluster."""
    images = np.arange(count)
    links = [(images, images)]
    nodes = count
    for ids in (groups, clusters):
        if ids is not None:
            codes, unique = pd.factorize(ids)
            links.append((images, codes + nodes))
            nodes += len(unique)
    first, second = (np.concatenate(ends) for ends in zip(*links, strict=True))
    graph = scipy.sparse.coo_array((np.ones(len(first), bool), (first, second)), shape=(nodes, nodes))
    return csgraph.connected_components(graph, directed=False)[1][:count]


def _leaked(sides: np.ndarray, components: np.ndarray) -> int:
    """How many val and test images have a member of their component in training."""
    return int((np.isin(components, components[sides == "train"]) & (sides != "train")).sum())


def _drop_earlier_copies(sides: np.ndarray, components: np.ndarray, notes: list[str]) -> None:
    """Marks training images that belong with validation or test, and validation images that belong with test."""
    in_test = np.isin(components, components[sides == "test"])
    in_val = np.isin(components, components[sides == "val"])
    drop = (sides == "train") & (in_test | in_val) | (sides == "val") & in_test
    sides[drop] = "dropped"
    if drop.any():
        notes.append(
            f"{int(drop.sum())} images were dropped from the official training or validation set because their patient "
            "or near-duplicate is on a later side; the test set is as published."
        )


def _report(
    sides: np.ndarray, clusters: np.ndarray | None, official: bool, leaked: int, notes: list[str]
) -> SplitReport:
    sizes = np.bincount(clusters) if clusters is not None and len(clusters) else np.zeros(1, int)
    return SplitReport(
        official=official,
        clusters=int((sizes > 1).sum()),
        clustered_images=int(sizes[sizes > 1].sum()),
        largest_cluster=int(np.max(sizes)),
        leaked_naive=leaked,
        dropped=int((sides == "dropped").sum()),
        notes=tuple(notes),
    )
