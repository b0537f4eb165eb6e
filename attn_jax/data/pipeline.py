"""Batches from prepared arrays: shuffled without end for training, each image once for evaluation, read ahead.

grain iterates and keeps the position; what it handles is whole batches, each taken from the cache in one NumPy call,
because it spends about 20 µs an element, and its own shuffle 6 ms an element on a class of three images (it draws from
65,536 places until one is in range). Every shard computes the same global order and takes its share of each batch, so
that the batches do not depend on how many devices or processes there are.
"""

import functools
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import grain
import numpy as np
from jaxtyping import Float, Int, Shaped

from attn_jax.data.stratify import rarest_positive

Placed = TypeVar("Placed")
Batch = dict[str, np.ndarray]


class TrainingBatches:
    """Endless full batches of training images, the same for the same seed.

    Iterating gives dicts of `image` `[b, *space, C]`, `label` `[b]` or `[b, K]`, `index` int32 `[b]` (place in the
    global batch), `row` int32 `[b]`, and with `pairs` also `pair_image` and `pair_label`, another training image for
    each, drawn by the same rule.
    """

    def __init__(
        self,
        images: Shaped[np.ndarray, "N ..."],
        labels: Int[np.ndarray, "N"] | Float[np.ndarray, "N K"],
        rows: Int[np.ndarray, "R"],
        *,
        batch_size: int,
        seed: int,
        sampling: str = "natural",
        pairs: bool = False,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        """Sets up the order; reads nothing.

        Args:
          images: all images, in memory or mapped.
          labels: class indices, or one column per finding.
          rows: which images to train on.
          batch_size: of the global batch.
          seed: of the order.
          sampling: "natural", each image once an epoch; or "balanced", classes in equal numbers (findings: images by
            the rarest finding they have, those without any being one more class).
          pairs: also draw a partner for each image, for mixup and cutmix.
          shard: (i, n): give the i-th of n consecutive shares of each batch.
        """
        if len(rows) < 1 + pairs:
            raise ValueError(f"{len(rows)} rows are too few to draw {'pairs' if pairs else 'batches'} from")
        self._images, self._labels, self._rows = images, labels, np.sort(rows)
        self._share = _share(batch_size, shard)
        strata = [self._rows]
        if sampling == "balanced":
            classes = labels[self._rows] if labels.ndim == 1 else rarest_positive(labels[self._rows])
            strata = [self._rows[classes == present] for present in np.unique(classes)]
        elif sampling != "natural":
            raise ValueError(f"sampling={sampling!r} must be 'natural' or 'balanced'")
        self._batch_size = batch_size
        self._order = _Order(strata, (seed, 0))
        self._partners = _Order(strata, (seed, 1)) if pairs else None
        numbers = grain.MapDataset.range(sys.maxsize // batch_size)
        self._iterator = iter(numbers.map(self._read).to_iter_dataset(_IN_THIS_THREAD))

    def __iter__(self) -> "TrainingBatches":
        return self

    def __next__(self) -> Batch:
        return next(self._iterator)

    def _read(self, number: int) -> Batch:
        places = np.arange(self._batch_size, dtype=np.int64)[self._share]
        rows = self._order.rows(places + number * self._batch_size)
        batch = {"index": places.astype(np.int32), "row": rows.astype(np.int32)}
        batch |= _take(self._images, self._labels, rows)
        if self._partners is not None:
            drawn = self._partners.rows(places + number * self._batch_size)
            # An image drawn as its own partner gives way to the next one.
            following = self._rows[(np.searchsorted(self._rows, drawn) + 1) % len(self._rows)]
            pair = _take(self._images, self._labels, np.where(drawn == rows, following, drawn))
            batch |= {f"pair_{name}": column for name, column in pair.items()}
        return batch

    def get_state(self) -> dict[str, Any]:
        """The position after the last batch handed out; JSON-able."""
        return self._iterator.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position that `get_state` gave; the next batch is the one that followed it."""
        self._iterator.set_state(state)


def evaluation_batches(
    images: Shaped[np.ndarray, "N ..."],
    labels: Int[np.ndarray, "N"] | Float[np.ndarray, "N K"],
    rows: Int[np.ndarray, "R"],
    *,
    batch_size: int,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Each row exactly once, in order, in batches of one shape.

    The last batch is padded with zero images.

    Args:
      images: all images.
      labels: class indices, or one column per finding.
      rows: which images to give.
      batch_size: of the global batch.
      shard: (i, n): give the i-th of n consecutive shares of each batch.

    Yields:
      `image`, `label`, `row` int32 (-1 where padded) and `weight` float32 (0 where padded, else 1).
    """
    share = _share(batch_size, shard)
    for start in range(0, len(rows), batch_size):
        row = np.full(batch_size, -1, np.int32)
        row[: len(rows) - start] = rows[start : start + batch_size]
        row = row[share]
        real = row >= 0
        taken = {
            name: np.zeros((len(row), *of.shape[1:]), of.dtype) for name, of in _take(images, labels, row[:0]).items()
        }
        for name, column in _take(images, labels, row[real]).items():
            taken[name][real] = column
        yield {**taken, "row": row, "weight": real.astype(np.float32)}


class prefetch(Generic[Placed]):  # noqa: N801 (used like a function)
    """Iterates over `(put(batch), state)` while a thread prepares the batches that follow.

    `state` is what `batches.get_state()` gave right after the batch (None where `batches` has no state), so that a
    checkpoint never counts what was only read ahead. What the thread raises is raised here. Leaving the `with` block,
    `close`, losing the last reference or the end of the interpreter stop the thread.
    """

    def __init__(self, batches: Iterable[Batch], put: Callable[[Batch], Placed], size: int = 2) -> None:
        """Starts reading.

        Args:
          batches: what to read.
          put: moves a batch to the devices; called in the thread.
          size: how many batches to hold ready.
        """
        self._ready: queue.Queue[Any] = queue.Queue(size)
        self._stop = threading.Event()
        work = (iter(batches), getattr(batches, "get_state", None), put, self._ready, self._stop)
        thread = threading.Thread(target=_read_ahead, args=work, name="attn_jax-prefetch", daemon=True)
        self.close = weakref.finalize(self, _stop_reading, self._ready, self._stop, thread)
        thread.start()

    def __iter__(self) -> "prefetch[Placed]":
        return self

    def __next__(self) -> tuple[Placed, dict[str, Any] | None]:
        if not self.close.alive:
            raise StopIteration
        item, error = self._ready.get()
        if error is not None:
            self.close()
            raise error
        return item

    def __enter__(self) -> "prefetch[Placed]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_ahead(
    batches: Iterator[Batch],
    get_state: Callable[[], dict[str, Any]] | None,
    put: Callable[[Batch], Any],
    ready: queue.Queue[Any],
    stop: threading.Event,
) -> None:
    error: BaseException = StopIteration()
    try:
        for batch in batches:
            state = get_state() if get_state else None
            ready.put(((put(batch), state), None))
            if stop.is_set():
                return
    except BaseException as raised:
        error = raised
    ready.put((None, error))


def _stop_reading(ready: queue.Queue[Any], stop: threading.Event, thread: threading.Thread) -> None:
    stop.set()
    while thread.is_alive():
        try:
            ready.get(timeout=0.05)
        except queue.Empty:
            pass


_IN_THIS_THREAD = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)


class _Order:
    """Rows for ever: the strata in turn, each shuffled anew for every pass through it."""

    def __init__(self, strata: Sequence[np.ndarray], seed: tuple[int, ...]) -> None:
        self._strata = strata
        self._seed = seed
        self._shuffled = functools.lru_cache(2 * len(strata))(self._shuffle)

    def rows(self, places: np.ndarray) -> np.ndarray:
        """The rows at these places of the endless sequence."""
        found = np.empty(len(places), np.int64)
        turns, strata = np.divmod(places, len(self._strata))
        for stratum in range(len(self._strata)):
            here = np.flatnonzero(strata == stratum)
            passes, at = np.divmod(turns[here], len(self._strata[stratum]))
            for number in np.unique(passes):
                now = passes == number
                found[here[now]] = self._shuffled(stratum, int(number))[at[now]]
        return found

    def _shuffle(self, stratum: int, number: int) -> np.ndarray:
        return np.random.default_rng([*self._seed, stratum, number]).permutation(self._strata[stratum])


def _share(batch_size: int, shard: tuple[int, int]) -> slice:
    place, count = shard
    return slice(place * batch_size // count, (place + 1) * batch_size // count)


def _take(images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Batch:
    return {"image": np.asarray(images[rows]), "label": labels[rows]}
