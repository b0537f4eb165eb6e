"""Pictures: where a network looks, and how much a map of it is worth.

maps = saliency(model, variables, images, targets, "layer_cam", layer="stage3_block2")  # raw
pictures = to_image(maps, images.shape[1:-1])  # from 0 to 1, of the images' size
shown = attention_pictures(model, variables, images)  # what the network's own attention looks at

`METHODS` names what `saliency` can draw. Maps are judged by `scorecard` (`localise`, `ranking`, `faithfulness`, `road`)
and `trust` (`similarity`, `randomise`), beside the maps of `baselines`. Arrays are channels last: B images, *space of
height and width or of a volume, C channels.
"""

from attn_jax.explain.attention_maps import attention_maps, attention_pictures
from attn_jax.explain.grad_cam import to_image
from attn_jax.explain.methods import METHODS, saliency

__all__ = ["METHODS", "attention_maps", "attention_pictures", "saliency", "to_image"]
