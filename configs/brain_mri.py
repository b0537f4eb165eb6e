"""Brain MR slices, tumour or none: {none, SE, CBAM, GC} x 3 seeds, half-width ResNet-18 at 128 px.

    python main.py --config=configs/brain_mri.py --config.data.path=DIR

DIR holds `yes/`, `no/` and, where known, outlines in `masks/`
(Kaggle navoneel/brain-mri-images-for-brain-tumor-detection).
"""

from ml_collections import ConfigDict

from attn_jax.study.defaults import default_config


def get_config() -> ConfigDict:
    """The study's config; without a path it runs on simulated MR slices."""
    config = default_config()
    config.name = "brain_mri"
    config.title = "Attention in a ResNet-18: brain MRI, tumour or none"
    config.data.name = "brain_mri"
    config.data.image_size = 128
    config.data.channels = 1
    config.data.positive = "yes"
    config.data.split.val = 0.2
    config.data.split.test = 0.3
    config.data.phantom.modality = "mr"
    config.training.epochs = 60
    config.training.eval_every = 2
    config.optim.learning_rate = 1e-3
    config.optim.warmup_epochs = 5.0
    config.model.width = 0.5
    config.explain.layer = "stage3_block2"
    return config
