"""Dermoscopy, malignant or benign: {none, SE, CBAM, GC} x 3 seeds, half-width ResNet-18 at 128 px.

    python main.py --config=configs/skin.py --config.data.path=DIR

DIR holds `train/` and `test/` with `benign/` and `malignant/` in each
(Kaggle fanconic/skin-cancer-malignant-vs-benign).
"""

from ml_collections import ConfigDict

from attn_jax.study.defaults import default_config


def get_config() -> ConfigDict:
    """The study's config; without a path it runs on simulated dermoscopy."""
    config = default_config()
    config.name = "skin"
    config.title = "Attention in a ResNet-18: skin lesions, malignant or benign"
    config.data.name = "skin"
    config.data.image_size = 128
    config.data.channels = 3
    config.data.phantom.modality = "dermoscopy"
    config.augment.flip_ud = True
    config.augment.rotate = 45.0
    config.training.epochs = 25
    config.model.width = 0.5
    config.explain.layer = "stage3_block2"
    return config
