"""Deals indivisible components of images into parts, each with its share of every class."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from attn_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Pool:
    """Images to deal out.

    scikit-learn's StratifiedGroupKFold deals equal folds only; hold-out shares, and a place for every class on every
    side, need this.

    Attributes:
      labels: class indices `[N]`, or one column per finding `[N, K]` (1 present, 0 absent, nan unknown).
      components: component of each image; images of one stay together.
      classes: names for messages.
    """

    labels: Int[np.ndarray, "N"] | Float[np.ndarray, "N K"]
    components: Int[np.ndarray, "N"]
    classes: Sequence[str]

    def divide(self, rows: Int[np.ndarray, "R"], shares: Sequence[float], seed: Sequence[int]) -> Int[np.ndarray, "R"]:
        """The part that each of `rows` goes to, in parts of the given positive `shares`; the same for the same seed.

        Components are dealt from the largest to the smallest, those of one size in random order, each to the part that
        still lacks most of what it holds, relative to what that part should get. Findings are balanced over the
        rarest that each image has.

        Raises:
          UserError: a class has fewer components than there are parts.
        """
        labels, members = self.labels[rows], pd.factorize(self.components[rows])[0]
        strata = labels if labels.ndim == 1 else rarest_positive(labels)
        table = _count(members, np.eye(strata.max(initial=0) + 1)[strata])
        parts = _deal(table, np.asarray(shares, float) / sum(shares), np.random.default_rng(list(seed)))
        present = np.eye(len(self.classes), dtype=bool)[labels] if labels.ndim == 1 else labels == 1
        missing = _place_every_class(parts, _count(members, present) > 0, table.sum(1), len(shares))
        if missing is not None and labels.ndim == 1:  # findings may be too rare to be everywhere
            self._refuse(self.classes[missing], members[present[:, missing]], len(shares))
        return parts[members]

    @staticmethod
    def _refuse(name: str, members: np.ndarray, parts: int) -> None:
        images, independent = len(members), len(np.unique(members))
        apart = f" ({independent} once patients and near-duplicates stay together)" if independent < images else ""
        raise UserError(
            f"class {name!r} has {images} image{'s' * (images != 1)}{apart}, too few to be in each of {parts} "
            "parts of the data; add images, remove the class or merge it with another"
        )


def rarest_positive(labels: Float[np.ndarray, "N K"]) -> Int[np.ndarray, "N"]:
    """The rarest of the findings that each image has, by index; K for an image without any."""
    present: Bool[np.ndarray, "N K"] = labels == 1
    frequency = np.where(present, present.sum(0), np.iinfo(np.int64).max)
    return np.where(present.any(1), frequency.argmin(1), labels.shape[1])


def _count(members: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sums the rows of `columns` over each component: `[M, K]`."""
    table = np.zeros((members.max(initial=-1) + 1, columns.shape[1]))
    np.add.at(table, members, columns)
    return table


def _deal(table: np.ndarray, shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Part of each component; `table` says how many images of each stratum it holds."""
    sizes, totals = table.sum(1), table.sum(0)
    order = random.permutation(len(table))
    order = order[np.argsort(-sizes[order], kind="stable")]
    share_of_total = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    lacking = np.ones((len(shares), table.shape[1]))
    room = shares * sizes.sum()
    parts = np.empty(len(table), int)
    for component in order:
        want = lacking @ share_of_total[component]
        fits = room >= sizes[component] / 2
        part = int(np.argmax(np.where(fits, want, -np.inf) if fits.any() else room))
        parts[component] = part
        lacking[part] -= share_of_total[component] / shares[part]
        room[part] -= sizes[component]
    return parts


def _place_every_class(parts: np.ndarray, present: np.ndarray, sizes: np.ndarray, count: int) -> int | None:
    """Moves small components, in place, until each of `count` parts has every class; gives a class that cannot be.

    Args:
      parts: part of each component.
      present: whether a component has a class, `[M, K]`.
      sizes: images in each component.
      count: number of parts.
    """
    impossible = None
    for index in np.argsort(present.sum(0), kind="stable"):
        holders = np.flatnonzero(present[:, index])
        if len(holders) == 0:
            continue
        for part in set(range(count)) - set(parts[holders]):
            inside = np.array([present[parts == p].sum(0) for p in range(count)])
            spare = [c for c in holders if (inside[parts[c], present[c]] > 1).all()]
            if spare:
                parts[min(spare, key=lambda c: sizes[c])] = part
            else:
                impossible = int(index)
    return impossible
