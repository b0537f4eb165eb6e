"""A small study with planted numbers: a real and a simulated data set, a failed cell, names meant to break out."""

import dataclasses
import html.parser
import pathlib

import numpy as np
import pandas as pd
import pytest

from attn_jax import report
from attn_jax.evaluation.evidence import OnDataset, Settings, on_panel
from attn_jax.evaluation.panel import Panel, panels
from attn_jax.evaluation.records import Predictions, Result
from attn_jax.report import Contents, DatasetSummary, GalleryItem, GalleryMap
from attn_jax.report.figures.palette import FAINT, INK, LIGHT, MARKERS, Look

EVIL = "<script>alert('x')</script> & $a_b$ 100%"
GAINS = {"none": 1.0, "SE": 1.5, "CBAM \u00b7 resnet18": 1.2, "ECA": 0.9}
AUC = {("none", 0): 0.80, ("none", 1): 0.84, ("se", 0): 0.85, ("se", 1): 0.91, ("cbam", 0): 0.83, ("cbam", 1): 0.83}
COSTS = dict(
    parameters=11.2e6, gmacs=0.6, step_bytes=2**28, step_seconds=0.2, compile_seconds=14.0, train_seconds=300.0
)


def result(auc: float | None) -> Result:
    """A result with this AUC and a kappa that does not exist."""
    values = {
        "auc": auc,
        "average_precision": 0.7,
        "sensitivity": 0.75,
        "specificity": 0.6,
        "kappa": None,
        "brier": 0.2,
    }
    undefined = {"kappa": "no chance agreement"} | ({"auc": "one class only"} if auc is None else {})
    return Result(
        values, undefined, {"ill": 0.4}, {"well": {"auc": auc}, "ill": {"auc": auc}}, [[6, 4], [2, 8]], 20, "t"
    )


def cell(dataset: str, attention: str, seed: int, **changes: object) -> dict[str, object]:
    """A finished cell's row."""
    names = {"key": f"{dataset}-{attention}-{seed}", "slug": f"{dataset}-{attention}-s{seed}", "state": "done"}
    names |= {"reason": "", "dataset": dataset, "tested_on": "", "attention": attention, "model": "resnet18"}
    names |= {"placement": "" if attention == "none" else "block", "seed": seed, "fold": 0}
    return names | COSTS | {"steps": 100, "best_step": 60} | changes


def predictions(seed: int) -> Predictions:
    """Twenty test images of two classes."""
    rng = np.random.default_rng(seed)
    label = np.arange(20) % 2
    score = np.clip(0.5 + 0.25 * (2 * label - 1) + rng.normal(0, 0.3, 20), 0, 1)
    return Predictions(np.array([f"i{n}" for n in range(20)]), label, np.stack([1 - score, score], 1), ("well", "ill"))


def summary(*, simulated: bool) -> DatasetSummary:
    """Thirty images of two classes."""
    counts = pd.DataFrame({"train": [6, 4], "test": [10, 10]}, index=["well", "ill"])
    skipped = ((f"{EVIL}.png", "no bytes"),)
    return DatasetSummary(
        ("well", "ill"), "single", simulated, counts, 30, "32x32", "folder", skipped=skipped, clusters=2, leaked_naive=1
    )


def gallery_item(dataset: str, name: str, correct: tuple[bool, bool]) -> GalleryItem:
    """A grey image with a square lesion, seen by two mechanisms."""
    image, mask = np.full((32, 40), 90, np.uint8), np.zeros((32, 40), bool)
    mask[8:20, 10:25] = True
    heat = np.linspace(0, 1, 32 * 40).reshape(32, 40)
    columns = tuple(
        GalleryMap(attention, heat, "ill" if right else "well", 0.875, right, 0.25)
        for attention, right in zip(("none", "se"), correct, strict=True)
    )
    return GalleryItem(dataset, name, image, mask, "ill", columns)


def make() -> Contents:
    """The study: `wild` is real, `phantom` simulated; one cell of `phantom` failed."""
    rows = [cell(d, a, s) for d in ("wild", "phantom") for a, s in AUC]
    rows += [cell("wild", f"own:{EVIL}", s) for s in (0, 1)]
    rows += [cell("phantom", "gc", 0, state="failed", reason=EVIL), cell("phantom", "gc", 1, state="unfinished")]
    rows += [cell("wild", "se", 0, key="outside", tested_on="phantom")]
    done = [row["key"] for row in rows if row["state"] == "done"]
    known = {f"{d}-{a}-{s}": result(value) for d in ("wild", "phantom") for (a, s), value in AUC.items()}
    results = {key: known.get(str(key), result(0.5)) for key in done}
    steps = [
        {"key": k, "step": s, "epoch": s / 10, "train_loss": 1 / s, "val_auc": 0.5 + s / 100}
        for k in done
        for s in (5, 10)
    ]
    return Contents(
        title=f"Study {EVIL}",
        description="Planted numbers.",
        cells=pd.DataFrame(rows),
        results=results,
        predictions={key: predictions(n) for n, key in enumerate(done)},
        history=pd.DataFrame(steps),
        datasets={"wild": summary(simulated=False), "phantom": summary(simulated=True)},
        gallery=tuple(
            gallery_item(d, n, c) for d in ("wild", "phantom") for n, c in (("a", (True, True)), (EVIL, (False, True)))
        ),
        provenance={"versions": {"jax": "0.10"}, "seeds": [0, 1], "config": f"title: {EVIL}\nseed: 0\n"},
        command="python main.py --config=configs/demo.py",
    )


@dataclasses.dataclass
class Element:
    """A start tag with its attributes and all text inside."""

    tag: str
    attrs: dict[str, str]
    text: str = ""
    inside: "list[Element]" = dataclasses.field(default_factory=list)

    def all(self, *tags: str) -> "list[Element]":
        """The descendants with one of these tags."""
        found = [e for child in self.inside for e in (child, *child.all())]
        return [e for e in found if not tags or e.tag in tags]


class Page(html.parser.HTMLParser):
    """The page as a tree; fails on tags that are not closed in order."""

    EMPTY = ("meta", "img", "link", "br", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(text)
        assert len(self.open) == 1, [e.tag for e in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(element)
        if tag not in self.EMPTY:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].inside.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


@pytest.fixture(scope="session")
def contents() -> Contents:
    """The small study."""
    return make()


@pytest.fixture(scope="session")
def folder(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Its report, written once."""
    return report.write(contents, tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="session")
def page(folder: pathlib.Path) -> Element:
    """The report's page as a tree."""
    return Page((folder / "report.html").read_text(encoding="utf-8")).root


def judged(repeats=3, classes=2, gains=GAINS, count=90):
    """Predictions of models with the same doubts about two images a patient; `repeats` may say seeds by model."""
    rng = np.random.default_rng(5)
    label = np.repeat(rng.integers(0, classes, count // 2), 2)
    shared = rng.normal(size=(count, classes))
    more = {"group": np.repeat(np.arange(count // 2), 2), "dataset": "wild"}
    more["columns"] = pd.DataFrame({"sex": rng.choice(["female", "male"], count), "key": np.arange(count)})
    names = ("well", "ill", "worse")[:classes]
    for model, gain in gains.items():
        for seed in repeats[model] if isinstance(repeats, dict) else range(repeats):
            logit = shared + 0.5 * rng.normal(size=(count, classes)) + gain * np.eye(classes)[label]
            score = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
            yield model, Predictions(np.arange(count), label, score, names, model=model, seed=str(seed), **more)


@pytest.fixture(scope="session")
def sources():
    """Makes predictions for a panel of the models `GAINS`."""
    return judged


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Of evidence made fast."""
    return Settings(replicates=60)


@pytest.fixture(scope="session")
def panel() -> Panel:
    """Four models with three seeds."""
    return panels(list(judged()))[0]


@pytest.fixture(scope="session")
def found(panel: Panel, settings: Settings) -> OnDataset:
    """The evidence of `panel`."""
    return on_panel(panel, settings)


@pytest.fixture(scope="session")
def look() -> dict[str, Look]:
    """How the models of `panel` are drawn; ECA is faint."""
    named = [model for model in GAINS if model not in ("none", "ECA")]
    drawn = {model: Look(LIGHT[k], MARKERS[k + 1], "-") for k, model in enumerate(named)}
    return {"none": Look(INK, "o", "--"), "ECA": Look(FAINT, "o", "-", True), **drawn}
