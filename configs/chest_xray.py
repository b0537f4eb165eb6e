"""Chest radiographs by class folder: {none, SE, CBAM, GC} x 3 seeds, half-width ResNet-18 at 128 px.

    python main.py --config=configs/chest_xray.py --config.data.path=DIR

DIR holds one folder a class (COVID-19, normal, pneumonia; or NORMAL and PNEUMONIA in train/val/test folders, Kaggle
paultimothymooney/chest-xray-pneumonia). NIH's file names start with the patient's eight digits, which are the group.
"""

from ml_collections import ConfigDict

from attn_jax.study.defaults import default_config


def get_config() -> ConfigDict:
    """The study's config; without a path it runs on simulated radiographs."""
    config = default_config()
    config.name = "chest_xray"
    config.title = "Attention in a ResNet-18: chest X-ray"
    config.data.name = "chest_xray"
    config.data.image_size = 128
    config.data.channels = 1
    config.data.group_regex = r"^(\d{8}(?=_)|person\d+|.+)"
    config.data.split.val = 0.15
    config.data.split.test = 0.25
    config.data.phantom.modality = "radiograph"
    config.training.epochs = 25
    config.optim.warmup_epochs = 2.0
    config.model.width = 0.5
    config.explain.layer = "stage3_block2"
    return config
