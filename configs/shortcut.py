"""What a shortcut looks like on the page: simulated radiographs without and with a tag that gives the label away.

    python main.py --config=configs/shortcut.py

In training the tag stands on the positive images; in the test it does not depend on the label. A model that learnt the
tag loses its AUC there, and its class activation maps sit on the tag: the page compares the tag's place with and
without the tag. About 6 minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.demo import get_config as demo


def get_config() -> ConfigDict:
    """The demo's config with the shortcut off and on."""
    config = demo()
    config.name = "shortcut"
    config.title = "A planted shortcut: simulated radiographs with a tag"
    config.explain.layer = ""  # the last block: nothing behind it can take the tag's part back
    config.datasets.untagged = {"phantom": {"shortcut": 0.0}}
    config.datasets.tagged = {"phantom": {"shortcut": 1.0}}
    config.grid.dataset = ("untagged", "tagged")
    config.grid.attention = ("none", "cbam")
    return config
