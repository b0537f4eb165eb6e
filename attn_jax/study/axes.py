"""What a grid can vary, by short names."""

from collections.abc import Mapping

# Which config field an axis sets. `dataset` picks one of config.datasets, `tested_on` another one for the test.
AXES: Mapping[str, str] = {
    "dataset": "",
    "tested_on": "",
    "fold": "data.split.fold",
    "split_seed": "data.split.seed",
    "seed": "seed",
    "image_size": "data.image_size",
    "model": "model.name",
    "width": "model.width",
    "stem": "model.stem",
    "weights": "model.weights",
    "dtype": "model.dtype",
    "placement": "model.placement",
    "stages": "model.stages",
    "attention": "model.attention",
    "optimizer": "optim.name",
    "learning_rate": "optim.learning_rate",
    "epochs": "training.epochs",
    "sampling": "task.sampling",
    "class_weights": "task.class_weights",
    "labels": "data.labels",
}
