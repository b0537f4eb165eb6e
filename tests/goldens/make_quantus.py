"""Writes quantus.npz: what Quantus says of small images and maps, where it computes what attn_jax.explain does.

A perceptron in float64 stands for the network; its weights, the images and the maps are hashes. Quantus takes every
channel of a pixel for a feature of its own, wants steps that divide the pixels, and its ROAD fails on colours: hence
the sizes. Run with PyTorch and quantus; the file tells their versions. `made` needs NumPy only, so that the test has
the same images without PyTorch.
"""

import math
import pathlib
from collections.abc import Callable

import numpy as np

SIZES = {"gray": (1, 12, 10), "colour": (3, 12, 10), "volume": (1, 6, 4, 8)}
FEATURES = {"gray": 12, "colour": 12, "volume": 16}
"""That Quantus changes in a step: whole pixels, since no two pixels of a map are equal."""
COUNT = 4
HIDDEN, CLASSES, TARGET = 6, 4, 2
BLUR = 0.1
PERCENTAGES = (10, 20, 40, 60, 80, 90)


def made(signed: Callable[[tuple[int, ...], int], np.ndarray]) -> dict[str, np.ndarray]:
    """All that is judged, channels first; what a network is asked about in numbers that float32 keeps.

    Args:
        signed: that of hash_weights.py.
    """
    found = {}
    for salt, (name, size) in enumerate(SIZES.items()):
        images = signed((COUNT, *size), 1000 * salt).astype(np.float32).astype(np.float64)
        found[f"{name}/images"] = images
        found[f"{name}/maps"] = signed((COUNT, *size[1:]), 7000 + 1000 * salt)
        found[f"{name}/hidden"] = signed((math.prod(size), HIDDEN), 20000 + 1000 * salt) / 4
        found[f"{name}/out"] = 3 * signed((HIDDEN, CLASSES), 30000 + 1000 * salt)
    # Of at least 0, and 0 somewhere: black is 0.
    found["gray/images"] = np.maximum(found["gray/images"], 0)

    size = SIZES["gray"][1:]
    maps, masks = np.abs(signed((COUNT, *size), 50000)), np.zeros((COUNT, *size), bool)
    for number, (map_, mask) in enumerate(zip(maps, masks, strict=True)):
        mask[number : number + 5, 2 : 5 + number // 2] = True
        map_[mask] += 0.2 * number
        if number % 2:
            map_[number + 1, 3] = 2
    maps[3, 5, 4] = 2  # two highest pixels, both inside
    found["inside/maps"], found["inside/masks"] = maps, masks
    found["inside/levels"] = np.round(4 * maps)

    doubtful = np.ones((3, *size))
    doubtful[0, 0, 0] = doubtful[0, 9, 9] = doubtful[1, 0, 0] = 2
    found["doubtful/maps"], found["doubtful/masks"] = doubtful, np.zeros(doubtful.shape, bool)
    found["doubtful/masks"][[0, 2], :4] = True

    for name, shape in {"plane": (12, 10), "volume": (8, 7, 9)}.items():
        for side, salt in (("first", 60000), ("second", 61000)):
            maps = signed((COUNT, *shape), salt)
            axes = tuple(range(1, maps.ndim))
            low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
            found[f"similar/{name}/{side}"] = (maps - low) / (high - low)
    # Alike to a degree that differs from image to image.
    for name in ("plane", "volume"):
        first, second = found[f"similar/{name}/first"], found[f"similar/{name}/second"]
        second[1::2] = first[1::2] ** np.arange(2, 2 + COUNT // 2).reshape(-1, *[1] * (first.ndim - 1))
    return found


def randomised(signed: Callable[[tuple[int, ...], int], np.ndarray]) -> dict[str, np.ndarray]:
    """Quantus' parameter randomisation test of the input gradient: its scores, and the maps they are of."""
    import quantus
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES)
    ).eval()
    images, targets = signed((3, 1, 8, 8), 80000).astype(np.float32), np.full(3, TARGET)
    maps: list[np.ndarray] = []

    def gradient(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **unused: object) -> np.ndarray:
        batch = torch.tensor(inputs, requires_grad=True)
        model(batch)[range(len(batch)), targets].sum().backward()
        assert batch.grad is not None
        maps.append(batch.grad.numpy())
        return maps[-1]

    metric = quantus.MPRT(quantus.similarity_func.correlation_spearman, disable_warnings=True)
    scores = metric(model, images, targets, gradient(model, images, targets), explain_func=gradient, channel_first=True)
    # The first are those Quantus was given; it draws them anew before it randomises a layer.
    return {"randomised/maps": np.stack(maps[1:])[:, :, 0], "randomised/scores": np.array(list(scores.values()))}


def main() -> None:
    import importlib.metadata

    import quantus
    import torch
    from hash_weights import signed
    from quantus.functions.perturb_func import noisy_linear_imputation
    from skimage.filters import gaussian
    from torch import nn

    # Quantus 0.6.0 integrates by a name that NumPy 2.4 no longer has.
    np.trapz = np.trapezoid

    class Perceptron(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.hidden, self.out = (torch.from_numpy(given[f"{name}/{layer}"]) for layer in ("hidden", "out"))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(x.double().flatten(1) @ self.hidden) @ self.out

    def put_back(arr: np.ndarray, indices: np.ndarray, originals: np.ndarray, **unused: object) -> np.ndarray:
        rows = np.arange(len(arr))[:, None]
        arr[rows, indices] = originals[rows, indices]
        return arr

    given = made(signed)
    targets = np.full(COUNT, TARGET)
    found: dict[str, np.ndarray] = {}
    for name, size in SIZES.items():
        model = Perceptron(name).eval()
        images, maps = given[f"{name}/images"], given[f"{name}/maps"]
        options = {"features_in_step": FEATURES[name], "disable_warnings": True}
        deletion = {**options, "perturb_baseline": "black" if name == "gray" else 0.0}
        blurred = gaussian(images, [0, 0, *(BLUR * side for side in size[1:])], mode="reflect")
        back = {"perturb_func": put_back, "perturb_func_kwargs": {"originals": images.reshape(COUNT, -1)}}
        asked = {"y_batch": targets, "a_batch": maps[:, None], "channel_first": True, "softmax": True}
        for curve, start, how in (("deletion", images, deletion), ("insertion", blurred, {**options, **back})):
            found[f"{name}/{curve}"] = quantus.PixelFlipping(**how)(model, start, **asked)
            area = quantus.PixelFlipping(**how, return_auc_per_sample=True)
            found[f"{name}/{curve}_area"] = area(model, start, **asked)

    model = Perceptron("gray").eval()
    for order, maps in (("morf", given["gray/maps"]), ("lerf", -given["gray/maps"])):
        metric = quantus.ROAD(list(PERCENTAGES), noise=0, disable_warnings=True)
        asked = {"a_batch": maps[:, None], "channel_first": True}
        shares = [metric(model, given["gray/images"], np.full(COUNT, label), **asked) for label in range(CLASSES)]
        found[f"gray/road_{order}"] = np.array([[share[part] for part in PERCENTAGES] for share in shares])
    gone = np.flatnonzero(given["colour/maps"][0] > 0)
    found["colour/imputed"] = noisy_linear_imputation(given["colour/images"][0], gone, noise=0)

    def localised(name: str, maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
        metric, count = getattr(quantus, name)(disable_warnings=True), len(maps)
        asked = {"a_batch": maps[:, None], "s_batch": masks[:, None], "channel_first": True}
        return np.array(metric(None, given["gray/images"][:count], targets[:count], **asked), np.float64)

    for name in ("PointingGame", "RelevanceMassAccuracy", "AttributionLocalisation", "AUC"):
        found[f"inside/{name}"] = localised(name, given["inside/maps"], given["inside/masks"])
    found["inside/AUC_of_levels"] = localised("AUC", given["inside/levels"], given["inside/masks"])
    for name in ("PointingGame", "RelevanceMassAccuracy"):
        found[f"doubtful/{name}"] = localised(name, given["doubtful/maps"], given["doubtful/masks"])

    for name in ("plane", "volume"):
        first, second = given[f"similar/{name}/first"], given[f"similar/{name}/second"]
        found[f"similar/{name}/ssim"] = np.array(quantus.similarity_func.ssim(first, second, batched=True))
        flat = (np.round(5 * maps).reshape(COUNT, -1) for maps in (first, second))
        found[f"similar/{name}/spearman"] = quantus.similarity_func.correlation_spearman(*flat, batched=True)
    found |= randomised(signed)

    for name, values in found.items():
        found[name] = values = np.asarray(values)
        print(f"{name:<32}{values.dtype!s:<9}{values.shape!s:<18}{np.nanmin(values):.4g} to {np.nanmax(values):.4g}")
    packages = ("quantus", "torch", "numpy", "scipy", "scikit-image", "scikit-learn")
    found["versions"] = np.array([f"{name} {importlib.metadata.version(name)}" for name in packages])
    np.savez_compressed(pathlib.Path(__file__).with_name("quantus.npz"), **found)


if __name__ == "__main__":
    main()
