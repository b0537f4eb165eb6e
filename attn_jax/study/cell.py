"""A cell: one point of the grid, the key of everything that determines its result, and its folder."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import re
from typing import Any, Literal

from ml_collections import ConfigDict

from attn_jax.attention import SHUFFLED
from attn_jax.data.prepare import Prepared
from attn_jax.errors import UserError
from attn_jax.study.defaults import default_config
from attn_jax.study.grid import Point

State = Literal["done", "failed", "unfinished", "to do"]

# Beginnings of fields that cannot change a cell's result. The data stand in the key by their content, not their place;
# how they are normalised and split is not part of that content.
WITHOUT_EFFECT = (
    "name",
    "title",
    "description",
    "baseline",
    "explain.",
    "report.",
    "training.parallel",
    "training.log_every",
    "training.checkpoint_seconds",
    *(f"data.{field}" for field in ("name", "source", "path", "image_size", "channels", "volume", "on_bad")),
    *(f"data.{field}" for field in ("group_regex", "positive", "ordinal", "cache", "table.", "phantom.")),
)
# Raised when the default of a field changes: keys hold only what differs from the defaults.
DEFAULTS_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training, or one test of a training on another data set.

    Attributes:
        point: the grid's values.
        config: the resolved config.
        key: SHA-256 of what determines the result, as hex.
        folder: `cells/<slug>-<key8>` in the working directory.
        trained_in: the folder of the cell whose training this one tests, or None where it trains itself.
    """

    point: Point
    config: ConfigDict
    key: str
    folder: pathlib.Path
    trained_in: pathlib.Path | None = None

    @property
    def tested_on(self) -> str:
        """The other data set the cell is tested on; empty for its own test part."""
        return self.point.get("tested_on", "")

    @property
    def dataset(self) -> str:
        """The data set it is trained on."""
        return self.config.data.name

    @property
    def slug(self) -> str:
        """A readable name, such as `brain_mri-se-seed1`."""
        return self.folder.name.rsplit("-", 1)[0]

    @property
    def arm(self) -> str:
        """What is compared: the mechanism, then the axes that are no repeats and no data sets, such as
        `se-modelresnet50`; of a test on another data set also where it was trained."""
        words = _words(self.point, self.config, but=("dataset", "tested_on", "seed", "fold"))
        return "-".join([*words, *([f"trained_on_{self.dataset}"] if self.tested_on else [])])

    def result(self) -> dict[str, Any] | None:
        """`result.json` where the cell is done."""
        try:
            return json.loads((self.folder / "result.json").read_text())
        except FileNotFoundError:
            return None

    def failure(self) -> dict[str, Any] | None:
        """Why it failed last time, where it did."""
        try:
            return json.loads((self.folder / "failure.json").read_text())
        except FileNotFoundError:
            return None

    def state(self) -> State:
        """Where the cell stands, read from its folder."""
        if (self.folder / "result.json").exists():
            return "done"
        if (self.folder / "failure.json").exists():
            return "failed"
        return "unfinished" if (self.folder / "config.json").exists() else "to do"


def make_cell(
    workdir: pathlib.Path, point: Point, config: ConfigDict, data: Prepared, tested_on: Prepared | None = None
) -> Cell:
    """The cell of a point, given the data it is trained on and, for an external test, those it is tested on."""
    facts = _determining(config, data)
    key = _hash(facts)
    inner = {name: value for name, value in point.items() if name != "tested_on"}
    folder = workdir / "cells" / f"{_slug(inner, config)}-{key[:8]}"
    if tested_on is None:
        return Cell(point, config, key, folder)
    external_key = _hash({"trained": key, "tested": _data_facts(tested_on)})
    external_folder = workdir / "cells" / f"{_slug(point, config)}-{external_key[:8]}"
    return Cell(point, config, external_key, external_folder, trained_in=folder)


def _determining(config: ConfigDict, data: Prepared) -> dict[str, Any]:
    """The fields that can change the result and are not at their default, and the content of the data.

    A field that a later version adds leaves the keys of older cells alone, if its default is what was done before.
    """
    facts = flat(config)
    weights = facts.get("model.weights")
    for path, default in flat(default_config()).items():
        if facts.get(path) == default:
            del facts[path]
    facts = {path: value for path, value in facts.items() if not path.startswith(WITHOUT_EFFECT)}
    if weights:
        facts["model.weights"] = _file_digest(weights)
    return {"defaults": DEFAULTS_VERSION, "config": facts, "data": _data_facts(data)}


def flat(config: ConfigDict) -> dict[str, Any]:
    """The fields of a config by their dotted path."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            fields |= {f"{name}.{inner}": v for inner, v in flat(value).items()}
        else:
            fields[name] = list(value) if isinstance(value, tuple) else value
    return fields


def _data_facts(data: Prepared) -> dict[str, Any]:
    return {"digest": data.digest, "classes": list(data.classes), "positive": data.positive, "ordinal": data.ordinal}


@functools.lru_cache
def _file_digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"config.model.weights={path!r} cannot be read: {error.strerror}.") from None


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _slug(point: Point, config: ConfigDict) -> str:
    """`dataset-attention-seed0`, then the other axes by name; safe as a file name."""
    words = [str(point.get("dataset", config.data.name)), *_words(point, config, but=("dataset",))]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(words))[:120]


def _words(point: Point, config: ConfigDict, but: tuple[str, ...]) -> list[str]:
    """The mechanism, and the other axes by name."""
    attention = config.model.attention.rsplit(":", 1)[-1].rsplit(".", 1)[-1]
    words = [SHUFFLED + attention if config.model.attention.startswith(SHUFFLED) else attention]
    for name, value in point.items():
        if name not in ("attention", *but):
            shown = pathlib.Path(value).stem if name == "weights" else value
            words.append(f"{name}{'.'.join(map(str, shown)) if isinstance(shown, tuple) else shown}")
    return words
