"""EfficientNet-Lite0 with ImageNet weights, fine-tuned: {none, SE, ECA, CBAM, GC, Coordinate} x 3 seeds x 3 data sets.

    python main.py --config=configs/transfer.py --config.model.weights=efficientnet_lite0_imagenet.safetensors \
        --config.datasets.brain_mri.path=DIR --config.datasets.covid_ct.path=DIR --config.datasets.chest_xray.path=DIR

The folders are those of configs/brain_mri.py, covid_ct.py and chest_xray.py, and so are the splits. The first four of
seven stages keep their weights (their running statistics follow the new images); a mechanism stands in every block of
the last three and begins as the identity, so that at step 0 each network is the pretrained one. `--config.only=dataset=
brain_mri` runs one data set.
"""

from ml_collections import ConfigDict

from attn_jax.study.defaults import default_config


def get_config() -> ConfigDict:
    """The study's config; a data set without a path is simulated."""
    config = default_config()
    config.name = "transfer"
    config.title = "Attention in a pretrained EfficientNet-Lite0"
    config.data.image_size = 128
    config.data.channels = 3
    config.data.normalize = "half"
    config.datasets.brain_mri = _data("mr", val=0.2, test=0.3, positive="yes")
    covid_ct = _data("ct", val=0.15, test=0.25, positive="CT_COVID")
    config.datasets.covid_ct = covid_ct
    covid_ct.group_regex = r"^(.+?)(?:[-%_]\d+)*\.\w+$"
    chest_xray = _data("radiograph", val=0.15, test=0.25)
    config.datasets.chest_xray = chest_xray
    chest_xray.group_regex = r"^(\d{8}(?=_)|person\d+|.+)"
    config.model.name = "efficientnet_lite0"
    config.model.stages = (5, 6, 7)
    config.model.placement = "block"
    config.model.identity_start = True
    config.optim.freeze = ("stem", "stage1", "stage2", "stage3", "stage4")
    config.optim.learning_rate = 5e-4
    # AdamW moves a number by about the learning rate a step, and alpha has some 50 to 260 steps to come from 0 near 1.
    config.optim.alpha_factor = 20.0
    config.optim.warmup_epochs = 1.0
    config.training.epochs = 12
    config.grid.dataset = ("brain_mri", "covid_ct", "chest_xray")
    config.grid.attention = ("none", "se", "eca", "cbam", "gc", "coordinate")
    return config


def _data(modality: str, *, val: float, test: float, positive: str = "") -> ConfigDict:
    split, phantom = ConfigDict({"val": val, "test": test}), ConfigDict({"modality": modality})
    return ConfigDict({"path": "", "positive": positive, "split": split, "phantom": phantom})
