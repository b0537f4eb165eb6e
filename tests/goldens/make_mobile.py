"""Logits of MobileNetV2, EfficientNet-B0 and -Lite0 and ConvNeXt-T with weights from hashes, in float64.

Writes backbones_mobile.npz. Made with torch 2.14.1, torchvision 0.29.1 and efficientnet-lite-pytorch 0.1.0:
`python tests/goldens/make_mobile.py`.
"""

import importlib.metadata
import pathlib

import numpy as np
import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet
from hash_weights import signed
from make_resnet import fill

PACKAGES = ("torch", "torchvision", "efficientnet-lite-pytorch")


def create(name: str) -> torch.nn.Module:
    if name == "efficientnet_lite0":
        # Without a size its padding follows the image, as TensorFlow's does.
        return EfficientNet.from_name("efficientnet-lite0", num_classes=10, image_size=None)
    return getattr(torchvision.models, name)(num_classes=10)


def main() -> None:
    out = {"versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)}
    torch.set_default_dtype(torch.float64)
    for name in ("mobilenet_v2", "efficientnet_b0", "efficientnet_lite0", "convnext_tiny"):
        images = torch.from_numpy(signed((2, 3, 66, 47), 12345))
        model = create(name)
        out[f"{name}_tensors"] = np.array(fill(model))
        with torch.no_grad():
            out[name] = model.eval()(images).numpy()
            # Neither statistic stands behind anything random.
            if name == "mobilenet_v2":
                model.train()(images)
                out["mobilenet_v2_train"] = model.features[18][1].running_mean[::20].numpy()
            if name == "efficientnet_lite0":
                model.train()(images)
                out["efficientnet_lite0_train"] = model._blocks[0]._bn2.running_mean.numpy()
    np.savez_compressed(pathlib.Path(__file__).with_name("backbones_mobile.npz"), **out)


if __name__ == "__main__":
    main()
