"""Tensors and logits of torchvision's and timm's networks with weights from hashes, in float64 -> backbones_cnn.npz.

Made with torch 2.14.1, torchvision 0.29.1 and timm 1.0.31: `python tests/goldens/make_backbones.py`. The weights are
float32 numbers; of the logits every few are kept. VGG's are also those of an eighth of its width.
"""

import pathlib
from collections.abc import Callable

import numpy as np
import timm
import torch
import torchvision
from hash_weights import sampled, signed, weight
from torchvision.models.vgg import VGG, make_layers

MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "resnet50d": lambda: timm.create_model("resnet50d"),
    "resnext50": torchvision.models.resnext50_32x4d,
    "wide_resnet50": torchvision.models.wide_resnet50_2,
    "densenet121": torchvision.models.densenet121,
    "vgg16_bn": torchvision.models.vgg16_bn,
}


def narrow_vgg() -> torch.nn.Module:
    """torchvision's VGG-16-BN with an eighth of the channels and of the hidden layers."""
    stages = [[8] * 2, [16] * 2, [32] * 3, [64] * 3, [64] * 3]
    model = VGG(
        make_layers([width for stage in stages for width in [*stage, "M"]], batch_norm=True), init_weights=False
    )
    for place, (fan_in, fan_out) in {0: (64 * 49, 512), 3: (512, 512), 6: (512, 1000)}.items():
        model.classifier[place] = torch.nn.Linear(fan_in, fan_out)
    return model


def tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and statistics by name."""
    return {name: t for name, t in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def lines(model: torch.nn.Module) -> np.ndarray:
    """`name:shape` of each tensor."""
    return np.array([f"{name}:{','.join(map(str, tensor.shape))}" for name, tensor in tensors(model).items()])


def logits(model: torch.nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """Of images from hashes, in evaluation, with every tensor from its name."""
    for name, tensor in tensors(model).items():
        tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape)).astype(np.float32)))
    with torch.no_grad():
        return model.double().eval()(torch.from_numpy(signed(shape, 12345))).numpy()


def main() -> None:
    out = {"versions": f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"}
    for name, make in MODELS.items():
        with torch.device("meta"):
            model = make()
        out[f"{name}_tensors"] = lines(model)
        out[f"{name}_parameters"] = sum(parameter.numel() for parameter in model.parameters())
    # Sizes that become odd on the way, and windows of VGG's that overlap and that repeat.
    for name in ("resnet50d", "resnext50", "wide_resnet50", "densenet121"):
        out[name] = sampled(logits(MODELS[name](), (1, 3, 72, 56)))
    model = narrow_vgg()
    out["vgg16_bn_narrow_tensors"] = lines(model)
    out["vgg16_bn_narrow"] = sampled(logits(model, (1, 3, 320, 72)))
    out["vgg16_bn"] = sampled(logits(MODELS["vgg16_bn"](), (1, 3, 40, 72)))
    np.savez_compressed(pathlib.Path(__file__).with_name("backbones_cnn.npz"), **out)


if __name__ == "__main__":
    main()
