"""Lung CT pictures, COVID-19 or none: {none, SE, CBAM, GC} x 3 seeds, half-width ResNet-18 at 128 px.

    python main.py --config=configs/covid_ct.py --config.data.path=DIR

DIR holds `CT_COVID/` and `CT_NonCOVID/` (UCSD-AI4H/COVID-CT). Several pictures come from one page of one
paper: the file name without its last `-`, `_` or `%` numbers is taken as the patient.
"""

from ml_collections import ConfigDict

from attn_jax.study.defaults import default_config


def get_config() -> ConfigDict:
    """The study's config; without a path it runs on simulated CT slices."""
    config = default_config()
    config.name = "covid_ct"
    config.title = "Attention in a ResNet-18: lung CT, COVID-19 or none"
    config.data.name = "covid_ct"
    config.data.image_size = 128
    config.data.channels = 1
    config.data.positive = "CT_COVID"
    config.data.group_regex = r"^(.+?)(?:[-%_]\d+)*\.\w+$"
    config.data.split.val = 0.15
    config.data.split.test = 0.25
    config.data.phantom.modality = "ct"
    config.training.epochs = 40
    config.training.eval_every = 2
    config.optim.warmup_epochs = 3.0
    config.model.width = 0.5
    config.explain.layer = "stage3_block2"
    return config
