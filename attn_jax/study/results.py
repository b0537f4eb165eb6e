"""A study from Python: its cells, predictions and tables as data frames, and its trained networks."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from attn_jax.data.prepare import prepare
from attn_jax.errors import UserError, did_you_mean
from attn_jax.evaluation import records, summary
from attn_jax.evaluation.records import Result
from attn_jax.models import weights
from attn_jax.study.axes import AXES
from attn_jax.study.train import as_predictions, predict_rows
from attn_jax.study.trained import load_model
from attn_jax.training import history


@dataclasses.dataclass(frozen=True)
class Study:
    """What a working directory holds. A cell is named by its key, its slug or a unique beginning of either."""

    workdir: pathlib.Path

    @functools.cached_property
    def cells(self) -> pd.DataFrame:
        """One row a finished cell: its folder, key and slug, its point on the grid, metrics and costs."""
        rows = []
        for path in sorted(self.workdir.glob("cells/*/result.json")):
            result = json.loads(path.read_text())
            plain = {k: v for k, v in result.items() if k not in ("point", "evaluation")}
            metrics = result["evaluation"]["metrics"]
            config = _facts(path.parent)["config"]
            labels = {
                "dataset": config["data"]["name"],
                "attention": config["model"]["attention"],
                "seed": config["seed"],
            }
            rows.append(
                {"slug": path.parent.name[:-9], **labels, **result["point"], **metrics, **plain, "folder": path.parent}
            )
        return pd.DataFrame(rows)

    def predictions(self, cell: str) -> records.Predictions:
        """The scores of a cell's validation and test images."""
        return records.read(self._folder(cell) / "predictions.parquet")

    def result(self, cell: str) -> Result:
        """A cell's metrics, thresholds and confusion matrix."""
        return Result.from_json(json.loads((self._folder(cell) / "result.json").read_text())["evaluation"])

    def history(self, cell: str) -> pd.DataFrame:
        """A cell's metrics over time, one row a noted step."""
        return pd.DataFrame(history.read(self._folder(cell) / "metrics.jsonl"))

    def leaderboard(self) -> pd.DataFrame:
        """Mean and standard deviation over the seeds of every metric, per data set and mechanism."""
        entries = []
        for row in self.cells.to_dict("records"):
            axes = {name: row[name] for name in AXES if name in row and not pd.isna(row[name])}
            entries.append(({"tested_on": "", **axes}, self.result(row["key"])))
        return summary.leaderboard(entries)

    def predict(self, cell: str, path: str | pathlib.Path, **data: Any) -> records.Predictions:
        """Predicts every image of another folder with a trained cell (external validation).

        Args:
            cell: the trained cell.
            path: a folder with the same classes; `data` sets further fields of `config.data`, such as `source`.

        Raises:
            UserError: the classes are not those the cell was trained on.
        """
        folder = self._folder(cell)
        facts = _facts(folder)
        config = ConfigDict(facts["config"])
        options = ConfigDict(facts["config"]["data"])
        options.update({"path": str(path), "name": pathlib.Path(path).name, **data})
        prepared = prepare(options, self.workdir / "cache")
        if list(prepared.classes) != facts["data"]["classes"]:
            raise UserError(
                f"{path}: its classes {', '.join(prepared.classes)} are not those of {folder.name}: "
                f"{', '.join(facts['data']['classes'])}; rename the folders."
            )
        model, task, variables = load_model(config, facts["data"], folder)
        rows = np.arange(len(prepared.image_ids))
        scores = predict_rows(model, task, variables, prepared.images, rows)
        return dataclasses.replace(as_predictions(prepared, rows, scores, "test"), model=folder.name[:-9])

    def export(self, cell: str, path: str | pathlib.Path) -> pathlib.Path:
        """Writes a trained cell's weights as safetensors, under torchvision's names."""
        folder, path = self._folder(cell), pathlib.Path(path)
        facts = _facts(folder)
        model, _, variables = load_model(ConfigDict(facts["config"]), facts["data"], folder)
        weights.export(variables, path, rename=model.torch_name)
        return path

    def _folder(self, cell: str) -> pathlib.Path:
        if self.cells.empty:
            raise UserError(f"{self.workdir} holds no finished cell.")
        names = self.cells["key"].str.startswith(cell) | self.cells["slug"].str.startswith(cell)
        exact = self.cells[self.cells["slug"] == cell]
        found = exact if len(exact) == 1 else self.cells[names]
        if len(found) != 1:
            many = f"{len(found)} cells are called" if len(found) else "no cell is called"
            raise UserError(f"{many} {cell!r} in {self.workdir}.{did_you_mean(cell, self.cells['slug'])}")
        return found["folder"].iloc[0]


def load(workdir: str | pathlib.Path) -> Study:
    """Opens the study in a working directory.

    Raises:
        UserError: it is none.
    """
    workdir = pathlib.Path(workdir)
    if not (workdir / "cells").is_dir():
        raise UserError(f"{workdir} is no study: it has no folder cells/.")
    return Study(workdir)


def _facts(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())
