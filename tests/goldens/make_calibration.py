"""Calibration errors of torchmetrics and netcal, for `evaluation.calibration`.

Made with torch 2.14.1, torchmetrics 1.9.0 and netcal 1.4.0: `python tests/goldens/make_calibration.py`.
"""

import importlib.metadata
import json
import pathlib

import numpy as np
import torch
from netcal.metrics import ECE
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

HERE = pathlib.Path(__file__).parent


def sequence(count: int, step: float) -> np.ndarray:
    """Evenly spread numbers between 0 and 1."""
    return np.arange(1, count + 1) * step % 1


def main() -> None:
    score = sequence(200, 0.6180339887).round(6)
    truth = sequence(200, 0.7548776662) < score + 0.2 * np.sin(9 * score)
    logits = 3 * np.stack([sequence(200, step) for step in (0.8191725134, 0.6710436067, 0.5497004779)], axis=1)
    likely = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).round(6)
    label = (sequence(200, 0.8566748839) * 3).astype(int)
    two = torch.from_numpy(score), torch.from_numpy(truth).long()
    three = torch.from_numpy(likely), torch.from_numpy(label)
    found = {
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "torchmetrics", "netcal")},
        "score": score.tolist(),
        "truth": truth.tolist(),
        "likely": likely.tolist(),
        "label": label.tolist(),
    }
    for bins in (10, 15):
        found[f"ece_{bins}"] = float(binary_calibration_error(*two, n_bins=bins, norm="l1"))
        found[f"mce_{bins}"] = float(binary_calibration_error(*two, n_bins=bins, norm="max"))
        found[f"top_{bins}"] = float(multiclass_calibration_error(*three, num_classes=3, n_bins=bins, norm="l1"))
        each = [
            float(binary_calibration_error(three[0][:, k], (three[1] == k).long(), n_bins=bins, norm="l1"))
            for k in range(3)
        ]
        found[f"classwise_{bins}"] = float(np.mean(each))
        found[f"equal_mass_{bins}"] = float(ECE(bins, equal_intervals=False).measure(score, truth.astype(int)))
    (HERE / "calibration.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
