"""The first minutes: {none, SE, CBAM, GC} x 2 seeds on simulated radiographs, a quarter-width ResNet-18 at 128 px.

    python main.py --config=configs/demo.py

About 6 minutes on 2 cores; ends with the path of the report.
"""

from ml_collections import ConfigDict

from attn_jax.study.defaults import default_config


def get_config() -> ConfigDict:
    """The demo's config."""
    config = default_config()
    config.name = "demo"
    config.title = "Demo: attention on simulated radiographs"
    config.data.name = "phantom_radiograph"
    config.data.source = "phantom"
    config.data.image_size = 128
    config.data.channels = 1
    config.data.phantom.modality = "radiograph"
    config.data.phantom.images = 400
    config.model.width = 0.25
    config.optim.learning_rate = 2e-3
    config.training.epochs = 12
    config.explain.layer = "stage3_block2"
    config.explain.scored = 4
    config.grid.seed = (0, 1)
    return config
