"""Logits of torchvision's ResNets with weights from hashes, in float64 -> resnet.npz.

Made with torch 2.14.1 and torchvision 0.29.1: `python tests/goldens/make_resnet.py`.
"""

import pathlib

import numpy as np
import torch
import torchvision
from hash_weights import signed, weight


def fill(model: torch.nn.Module) -> list[str]:
    """Sets every parameter and statistic from its name; returns `name:shape` of each."""
    lines = []
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
            lines.append(f"{name}:{','.join(map(str, tensor.shape))}")
    return lines


def main() -> None:
    out = {"versions": f"torch {torch.__version__}, torchvision {torchvision.__version__}"}
    torch.set_default_dtype(torch.float64)
    for name in ("resnet18", "resnet34", "resnet50", "resnet101"):
        images = torch.from_numpy(signed((2, 3, 64, 64), 12345))
        model = getattr(torchvision.models, name)(num_classes=10)
        out[f"{name}_tensors"] = np.array(fill(model))
        with torch.no_grad():
            out[name] = model.eval()(images).numpy()

    # One block a stage, in training: batch statistics and every kind of gradient.
    model = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=10)
    out["train_tensors"] = np.array(fill(model))
    images = torch.from_numpy(signed((4, 3, 40, 36), 12345)).requires_grad_()
    logits = model.train()(images)
    (logits * torch.from_numpy(signed((4, 10), 777))).sum().backward()
    out["train_logits"] = logits.detach().numpy()
    out["train_image_gradient"] = images.grad[0, :, ::8, ::8].numpy()
    for name in ("conv1.weight", "layer2.0.conv2.weight", "layer4.0.conv2.weight", "layer4.0.downsample.0.weight"):
        out[f"train_{name}"] = dict(model.named_parameters())[name].grad[:4, :4].numpy()
    out["train_bn1"] = model.bn1.running_mean.numpy()
    np.savez_compressed(pathlib.Path(__file__).with_name("resnet.npz"), **out)


if __name__ == "__main__":
    main()
