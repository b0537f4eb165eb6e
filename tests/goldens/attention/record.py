"""Runs a PyTorch module with weights from hashes in float64 and keeps samples of what comes out.

For each shape: the output, and what `sum(output * direction)` gives as gradient of the input and of one parameter. The
first shape runs in training (batch statistics), the others in evaluation. Of each array at most `KEPT` numbers stay.
"""

import importlib.metadata
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from hash_weights import sampled, signed, weight  # noqa: E402

SHAPES = ((2, 48, 3, 2), (1, 64, 5, 4))
"""[B, C, *space]"""


def record(
    name: str,
    make: Callable[[int], torch.nn.Module],
    watched: str,
    *,
    shapes: tuple[tuple[int, ...], ...] = SHAPES,
    packages: tuple[str, ...] = (),
    run: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor] = lambda module, x: module(x),
) -> None:
    """Writes `<name>.npz` beside this file.

    Args:
        name: of the golden: the mechanism's, with its variant.
        make: the module for a number of channels.
        watched: the parameter whose gradient is kept, by its name in the module; empty where there are none.
        shapes: of the inputs, channels first.
        packages: what else than torch the module comes from, for the record of versions.
        run: calls the module, where it takes more than the input.
    """
    torch.set_default_dtype(torch.float64)
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in ("torch", *packages))
    out: dict[str, np.ndarray] = {"versions": np.array(versions), "watched": np.array(watched)}
    for index, shape in enumerate(shapes):
        module = make(shape[1]).train(index == 0)
        lines = []
        with torch.no_grad():
            for key, tensor in module.state_dict().items():
                if tensor.is_floating_point():
                    tensor.copy_(torch.from_numpy(weight(key, tuple(tensor.shape))))
                    lines.append(f"{key}:{','.join(map(str, tensor.shape))}")
        x = torch.from_numpy(signed(shape, 12345)).requires_grad_()
        y = run(module, x)
        (y * torch.from_numpy(signed(tuple(y.shape), 777))).sum().backward()
        arrays = {"output": y.detach(), "input_gradient": x.grad}
        if watched:
            arrays["parameter_gradient"] = dict(module.named_parameters())[watched].grad
        out |= {f"{kind}_{index}": sampled(array.numpy()) for kind, array in arrays.items()}
        out |= {f"shape_{index}": np.array(shape), f"tensors_{index}": np.array(lines)}
    path = pathlib.Path(__file__).with_name(f"{name}.npz")
    np.savez_compressed(path, **out)
    print(f"{path.name}: {path.stat().st_size} bytes, {versions}")
