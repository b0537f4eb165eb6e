"""Bootstrap replicates as weights: how often each image is drawn, so that products judge many replicates at once."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from attn_jax.errors import UserError

Weights = Float[np.ndarray, "replicates images"]
Key = TypeVar("Key", bound=Hashable)
Statistic = Callable[[Weights], Mapping[str, Float[np.ndarray, "replicates"]]]

# Weights of this many elements stay in a processor's cache.
_CHUNK = 1 << 18


def clusters(group: np.ndarray | None, count: int) -> Int[np.ndarray, "images"]:
    """The number of the patient of each of `count` images, from 0; each image is its own where there is no `group`."""
    if group is None:
        return np.arange(count)
    if len(group) != count:
        raise UserError(f"{count} images, but {len(group)} patients are named")
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def draws(
    rng: np.random.Generator, cluster: Int[np.ndarray, "images"], replicates: int
) -> Iterator[tuple[slice, Weights]]:
    """Draws as many clusters as there are, with replacement, `replicates` times; all images of a cluster go together.

    The cluster bootstrap (Field and Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x), and where each image is its own
    cluster the ordinary one. Yields which replicates, and their weights; equal generators draw equal weights.
    """
    count = int(cluster.max()) + 1
    alone = count == len(cluster)
    order = np.argsort(cluster) if alone else None
    step = max(1, _CHUNK // len(cluster))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = rng.integers(0, count, size=(rows, count), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        # Images that are their own clusters stand in order already, unless they were shuffled.
        weights = times if order is not None and (order == np.arange(count)).all() else times[:, cluster]
        yield slice(start, start + rows), weights


def left_out(cluster: Int[np.ndarray, "images"], blocks: int = 200) -> Iterator[tuple[slice, Weights]]:
    """All images but one cluster's, for each cluster: the jackknife. More clusters than `blocks` leave in blocks.

    A block's influence is the sum of its clusters', so that the acceleration of `intervals.bca` stays what it was.
    """
    count = int(cluster.max()) + 1
    block = cluster if count <= blocks else (cluster * blocks) // count
    total = int(block.max()) + 1
    step = max(1, _CHUNK // len(cluster))
    for start in range(0, total, step):
        stop = min(start + step, total)
        yield slice(start, stop), (block[None, :] != np.arange(start, stop)[:, None]).astype(np.float64)


def judge(
    statistic: Statistic, weighted: Iterator[tuple[slice, Weights]], count: int
) -> dict[str, Float[np.ndarray, "replicates"]]:
    """A statistic of each of `count` replicates (NaN where undefined)."""
    return judge_all({"": statistic}, weighted, count)[""]


def judge_all(
    statistics: Mapping[Key, Statistic], weighted: Iterator[tuple[slice, Weights]], count: int
) -> dict[Key, dict[str, Float[np.ndarray, "replicates"]]]:
    """Each statistic of each of `count` replicates, all of the same ones."""
    found: dict[Key, dict[str, np.ndarray]] = {key: {} for key in statistics}
    for rows, weights in weighted:
        for key, statistic in statistics.items():
            for name, values in statistic(weights).items():
                found[key].setdefault(name, np.full(count, np.nan))[rows] = values
    return found
