"""Writes grad_cam.npz: Grad-CAM of pytorch-grad-cam on torchvision's ResNet-18, weights and images from a hash.

Run with PyTorch, torchvision and grad-cam installed (their versions are stored in the file); `hashed` and `images` need
NumPy only, so that the test rebuilds the same network without PyTorch.
"""

import pathlib
import zlib

import numpy as np

CLASSES = 10
TARGETS = (3, 0, 7)
SIZE = 64


def u01(count: int, salt: int) -> np.ndarray:
    """`count` pseudo-random numbers in [0, 1), the same everywhere."""
    h = (np.arange(count, dtype=np.uint64) + salt).astype(np.uint32)
    for _ in range(2):
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x45D9F3B)
    h ^= h >> np.uint32(16)
    return h / 2**32


def hashed(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of the PyTorch parameter or buffer `name`, float32 in PyTorch's layout."""
    v = 2 * u01(int(np.prod(shape)), zlib.crc32(name.encode())) - 1
    if name.endswith("running_mean"):
        v = 0.1 * v
    elif name.endswith("running_var"):
        v = 1.25 + 0.25 * v
    elif name.endswith("bias"):
        v = 0.1 * v
    elif len(shape) == 1:
        v = 1 + 0.2 * v
    else:
        v = v * np.sqrt(6 / np.prod(shape[1:]))
    return v.reshape(shape).astype(np.float32)


def images() -> np.ndarray:
    """[3, 3, SIZE, SIZE] in [-1, 1), channels first."""
    shape = (len(TARGETS), 3, SIZE, SIZE)
    return (2 * u01(int(np.prod(shape)), 12345) - 1).reshape(shape).astype(np.float32)


def main() -> None:
    import importlib.metadata

    import torch
    import torchvision
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = torchvision.models.resnet18(num_classes=CLASSES).eval()
    state = model.state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    model.load_state_dict({**state, **{n: torch.from_numpy(hashed(n, tuple(state[n].shape))) for n in names}})
    batch = torch.from_numpy(images())
    found = {"shapes": np.array([f"{name}:{','.join(map(str, state[name].shape))}" for name in names])}
    layers = {"stage4_block2": model.layer4[-1], "stage3_block2": model.layer3[-1], "stage2_block2": model.layer2}
    for path, layer in layers.items():
        with GradCAM(model=model, target_layers=[layer]) as cam:
            raw = []
            scale = cam.get_cam_image
            cam.get_cam_image = lambda *args, scale=scale, raw=raw, **kw: raw.append(scale(*args, **kw)) or raw[-1]
            cam(batch, [ClassifierOutputTarget(target) for target in TARGETS])
            found[path] = np.maximum(raw[0], 0)
            print(path, found[path].shape, found[path].min(), found[path].max(), (found[path] > 0).mean())
    found["logits"] = model(batch).detach().numpy()
    packages = ("torch", "torchvision", "grad-cam")
    found["versions"] = np.array([f"{name} {importlib.metadata.version(name)}" for name in packages])
    np.savez_compressed(pathlib.Path(__file__).with_name("grad_cam.npz"), **found)


if __name__ == "__main__":
    main()
