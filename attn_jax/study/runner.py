"""Running a study: every cell of the grid once, whatever fails or falls over in between, then the page."""

import contextlib
import dataclasses
import pathlib
import statistics
import time
import traceback
from collections.abc import Iterator

import filelock
from ml_collections import ConfigDict

from attn_jax import progress
from attn_jax.data.prepare import Prepared, prepare
from attn_jax.errors import UserError
from attn_jax.study import compile_cache, grid, saliency
from attn_jax.study.cell import Cell, make_cell
from attn_jax.study.check import check
from attn_jax.study.page import write_page
from attn_jax.study.train import redraw, run_cell
from attn_jax.study.trained import write_json
from attn_jax.training.preemption import StopFlag, Stopped, listen

EXIT_DONE, EXIT_FAILED_CELLS = 0, 3
_POLL_SECONDS = 2.0


@dataclasses.dataclass
class Datasets:
    """Prepared data sets, each decoded once and the last few kept."""

    cache: pathlib.Path

    def __post_init__(self) -> None:
        self._kept: dict[str, Prepared] = {}

    def get(self, options: ConfigDict) -> Prepared:
        """The data of `config.data`."""
        key = options.to_json()
        if key not in self._kept:
            while len(self._kept) >= 4:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = prepare(options, self.cache)
        return self._kept[key]

    def of(self, config: ConfigDict, point: grid.Point) -> tuple[ConfigDict, Prepared, Prepared | None]:
        """A point's config, the data it is trained on, and those it is tested on where these are others."""
        resolved = grid.resolve(config, point)
        data = self.get(resolved.data)
        if not point.get("tested_on"):
            return resolved, data, None
        other = ConfigDict(config.to_dict())
        other.data = resolved.data
        tested = self.get(grid.external(other, point["tested_on"]))
        if tested.classes != data.classes or tested.kind != data.kind:
            raise UserError(
                f"config.grid.tested_on={point['tested_on']!r}: its classes {', '.join(tested.classes)} are not "
                f"those of {data.name}: {', '.join(data.classes)}; rename the folders or map the labels."
            )
        return resolved, data, tested


def plan(config: ConfigDict, workdir: pathlib.Path, datasets: Datasets) -> list[Cell]:
    """All cells of the grid, in the order they are run; the data are read, since the keys depend on them."""
    cells = []
    for point in grid.expand(config):
        resolved, data, tested = datasets.of(config, point)
        cells.append(make_cell(workdir, point, resolved, data, tested))
    return cells


def run(config: ConfigDict, workdir: str | pathlib.Path, *, only_list: bool = False) -> int:
    """Runs what is left of a study and writes its page; returns the process's exit code.

    Args:
        config: see `study.defaults`.
        workdir: where everything goes.
        only_list: print the cells with their state, and what is left to pay, and run nothing.

    Raises:
        UserError: the config or the data are wrong.
        preemption.Stopped: told to stop; the same call goes on.
    """
    workdir = pathlib.Path(workdir)
    datasets = Datasets(workdir / "cache")
    with listen() as stop:
        check(config)
        _make(workdir)
        announce(config)
        cells = plan(config, workdir, datasets)
        if only_list:
            print(listing(cells))
            return EXIT_DONE
        compile_cache.enable()
        _run_cells(config, cells, datasets, stop)
        with filelock.FileLock(workdir / "report.lock"):
            for cell in progress.track(cells, "looking at finished cells", len(cells)):
                _, data, tested = datasets.of(config, cell.point)
                redraw(cell, data, tested)
                saliency.score(cell, data)
            page = write_page(config, workdir, cells, datasets)
    failed = [cell for cell in cells if cell.state() == "failed"]
    for cell in failed:
        print(f"failed: {cell.slug}: {(cell.failure() or {}).get('reason')}")
    print(f"report: {page}")
    return EXIT_FAILED_CELLS if failed else EXIT_DONE


def _make(workdir: pathlib.Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir={workdir}: the folder cannot be made: {error.strerror}.") from None


def announce(config: ConfigDict) -> None:
    """Says in the first line of a run which data sets are simulated."""
    named = sorted({p["dataset"] for p in grid.expand(config) if "dataset" in p})
    sets = {name: grid.external(config, name) for name in named} or {config.data.name: config.data}
    simulated = [name for name, data in sets.items() if not data.path or data.source == "phantom"]
    if simulated:
        path = f"--config.datasets.{simulated[0]}.path=DIR" if named else "--config.data.path=DIR"
        source = " --config.data.source=folder" if config.data.source == "phantom" else ""
        print(
            f"SIMULATED IMAGES for {', '.join(simulated)}: no real data are used. Give your own with {path}{source}.",
            flush=True,
        )


def listing(cells: list[Cell]) -> str:
    """The cells with their state, and the time that is left once one has been timed."""
    width = max(len(cell.slug) for cell in cells)
    lines = []
    for cell in cells:
        reason = (cell.failure() or {}).get("reason", "") if cell.state() == "failed" else ""
        lines.append(f"{cell.slug:{width}}  {cell.folder.name[-8:]}  {cell.state():10}  {reason}".rstrip())
    left = [cell for cell in cells if cell.state() != "done"]
    lines.append(f"{len(cells)} cells, {len(cells) - len(left)} done, {len(left)} left")
    seconds = _seconds_left(cells, left)
    if left:
        lines[-1] += f": about {progress.duration(seconds)}" if seconds is not None else "; none timed yet"
    return "\n".join(lines)


def _run_cells(config: ConfigDict, cells: list[Cell], datasets: Datasets, stop: StopFlag) -> None:
    """Goes through the cells until each was done or has failed once in this call, here or in another process."""
    tried: set[str] = set()
    while left := [cell for cell in cells if cell.state() != "done" and cell.key not in tried]:
        ran = False
        for cell in left:
            if not _ready(cell, cells, tried):
                continue
            with _claimed(cell) as mine:
                if mine and cell.state() != "done":
                    ran = True
                    tried.add(cell.key)
                    _attempt(config, cell, cells, datasets, stop)
        if not ran and any(cell.state() != "done" for cell in left):
            with progress.task(f"waiting for another process at {len(left)} cells"):
                time.sleep(_POLL_SECONDS)


def _ready(cell: Cell, cells: list[Cell], tried: set[str]) -> bool:
    """Whether the training that an external test rests on is over; where it failed, so does the test."""
    if cell.trained_in is None:
        return True
    base = next(c for c in cells if c.folder == cell.trained_in)
    return base.state() == "done" or base.key in tried


@contextlib.contextmanager
def _claimed(cell: Cell) -> Iterator[bool]:
    """Holds the cell's lock, or says that another process does; a process that dies lets go of it."""
    folder = cell.folder.parent / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"{cell.folder.name}.lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _attempt(config: ConfigDict, cell: Cell, cells: list[Cell], datasets: Datasets, stop: StopFlag) -> None:
    """Runs one cell; a failure is written down with its reason and the study goes on."""
    left = [c for c in cells if c.state() != "done"]
    number = len(cells) - len(left) + 1
    started = time.monotonic()
    with progress.task(f"cell {number} of {len(cells)} {cell.slug}") as task:

        def report(fraction: float) -> None:
            seconds = (time.monotonic() - started) * (1 - fraction) / fraction if fraction else None
            others = _seconds_left(cells, [c for c in left if c is not cell])
            if seconds is not None:
                whole = "" if others is None else f", {progress.duration(seconds + others)} left for the study"
                task.update(f"{fraction:.0%}, {progress.duration(seconds)} left for the cell{whole}")

        try:
            _, data, tested = datasets.of(config, cell.point)
            result = run_cell(cell, data, tested, stop, report)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  (one cell's failure must not end the study)
            lines = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {lines[0] if lines else ''}".strip()
            facts = {"reason": reason, "traceback": traceback.format_exc(), "point": cell.point}
            cell.folder.mkdir(parents=True, exist_ok=True)
            write_json(cell.folder / "failure.json", facts)
            progress.message(f"{cell.slug} failed: {reason}")
            return
    auc = result["evaluation"]["metrics"].get("auc")
    shown = "undefined" if auc is None else f"{auc:.3f}"
    progress.message(
        f"{cell.slug}: AUC {shown} ({progress.duration(time.monotonic() - started)}; {number} of {len(cells)} cells)"
    )


def _seconds_left(cells: list[Cell], left: list[Cell]) -> float | None:
    """The time the cells `left` will take, from the timed cells of the same data set, else of any."""
    times: dict[str, list[float]] = {}
    for cell in cells:
        result = cell.result()
        if result and "train_seconds" in result:
            times.setdefault(cell.dataset, []).append(result["train_seconds"])
    if not times:
        return None
    everywhere = statistics.mean(t for group in times.values() for t in group)
    known = {name: statistics.mean(group) for name, group in times.items()}
    return sum(known.get(cell.dataset, everywhere) for cell in left if cell.trained_in is None)
