"""Writes cam.npz: maps of pytorch-grad-cam as they are before it stretches and resizes them.

Every method on a toy network in float64 (Score-CAM and Ablation-CAM in 2-D only: they fail on volumes), and Grad-CAM on
torchvision's ResNet-18 in float32. Weights and images are hashes. Run with PyTorch, torchvision and grad-cam; the file
tells their versions. The constants need NumPy only, so that the test builds the same networks without PyTorch.
"""

import pathlib

import numpy as np

CLASSES = 4
TARGETS = (3, 0, 2)
SIZES = {2: (12, 10), 3: (6, 4, 8)}
RESNET_CLASSES = 10
RESNET_TARGETS = (3, 0, 7)
RESNET_SIZE = 64
RESNET_LAYERS = {"stage4_block2": "layer4.1", "stage3_block2": "layer3.1", "stage2_block2": "layer2"}


def toy(dims: int):
    """Two blocks of a strided convolution and a ReLU, a mean over space, a linear head."""
    import torch
    from hash_weights import weight
    from torch import nn

    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            conv = nn.Conv2d if dims == 2 else nn.Conv3d
            self.block1 = nn.Sequential(conv(2, 6, 3, stride=2, padding=1), nn.ReLU())
            self.block2 = nn.Sequential(conv(6, 5, 3, stride=2, padding=1), nn.ReLU())
            self.head = nn.Linear(5, CLASSES)

        def forward(self, x):
            return self.head(self.block2(self.block1(x)).flatten(2).mean(-1))

    model = Toy().double().eval()
    for name, value in model.state_dict().items():
        value.copy_(torch.from_numpy(weight(name, tuple(value.shape))))
    return model


def unscaled(method, model, layer, batch, targets) -> np.ndarray:
    """The maps of a method of pytorch-grad-cam, before its `max(0, map)`."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with method(model=model, target_layers=[layer]) as cam:
        raw = []
        drawn = cam.get_cam_image
        cam.get_cam_image = lambda *args, **kw: raw.append(drawn(*args, **kw)) or raw[-1]
        cam(batch, [ClassifierOutputTarget(target) for target in targets])
    return raw[0]


def main() -> None:
    import importlib.metadata

    import pytorch_grad_cam as library
    import torch
    import torchvision
    from hash_weights import signed, weight
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction

    by_gradient = {
        "grad_cam": library.GradCAM,
        "grad_cam_plus_plus": library.GradCAMPlusPlus,
        "hires_cam": library.HiResCAM,
        "xgrad_cam": library.XGradCAM,
        "layer_cam": library.LayerCAM,
    }
    by_masking = {"score_cam": library.ScoreCAM, "ablation_cam": library.AblationCAM}
    found = {}
    for dims, size in SIZES.items():
        model = toy(dims)
        batch = torch.from_numpy(signed((len(TARGETS), 2, *size), 12345))
        with torch.no_grad():
            activations = model.block1(batch).numpy()
        assert (activations.reshape(len(TARGETS), -1).min(1) == 0).all()  # else AblationCAM does not zero a channel
        for name, method in (by_gradient | by_masking if dims == 2 else by_gradient).items():
            found[f"{dims}d/{name}"] = np.maximum(unscaled(method, model, model.block1, batch, TARGETS), 0)
        found[f"{dims}d/eigen_cam"] = np.maximum(get_2d_projection_with_sign_correction(activations), 0)
        either_sign = np.abs(unscaled(library.EigenCAM, model, model.block1, batch, TARGETS))
        found[f"{dims}d/eigen_cam_of_either_sign"] = either_sign
        found[f"{dims}d/logits"] = model(batch).detach().numpy()

    model = torchvision.models.resnet18(num_classes=RESNET_CLASSES).eval()
    names = []
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            value.copy_(torch.from_numpy(weight(name, tuple(value.shape))))
            names.append(f"{name}:{','.join(map(str, value.shape))}")
    found["resnet18/tensors"] = np.array(names)
    batch = torch.from_numpy(signed((len(RESNET_TARGETS), 3, RESNET_SIZE, RESNET_SIZE), 12345)).float()
    for path, layer in RESNET_LAYERS.items():
        drawn = unscaled(library.GradCAM, model, model.get_submodule(layer), batch, RESNET_TARGETS)
        found[f"resnet18/{path}"] = np.maximum(drawn, 0)

    for name, values in found.items():
        if values.dtype.kind == "f":
            print(f"{name:<32}{values.dtype!s:<9}{values.shape!s:<18}{values.min():.4g} to {values.max():.4g}")
    packages = ("torch", "torchvision", "grad-cam")
    found["versions"] = np.array([f"{name} {importlib.metadata.version(name)}" for name in packages])
    np.savez_compressed(pathlib.Path(__file__).with_name("cam.npz"), **found)


if __name__ == "__main__":
    main()
