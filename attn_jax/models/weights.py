"""Weights in and out as safetensors, under the names and in the layouts of PyTorch."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from attn_jax import progress
from attn_jax.errors import UserError
from attn_jax.models.resnet import torch_name as resnet_name

LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}

Rename = Callable[[str], str]


def load(path: str | Path, variables: Mapping[str, Any], *, rename: Rename = resnet_name) -> dict[str, Any]:
    """`variables` with the weights of a safetensors file, named as torchvision's or timm's.

    A leading `module.` and `num_batches_tracked` are ignored. Two parts keep their values, which a line on stderr says:
    attention mechanisms that the file does not have, and a head of another number of classes. A first convolution of
    three channels is summed for a network of one.

    Args:
        path: the file.
        variables: those of `model.init`: `params` and `batch_stats`.
        rename: from a module's path in our network (`"stage1_block1/conv1"`) to its name in the file: the network's
            `torch_name`.

    Raises:
        UserError: the file is missing or not safetensors, or anything else differs in name or shape.
    """
    stored = {name.removeprefix("module."): array for name, array in _read(Path(path)).items()}
    stored = {name: array for name, array in stored.items() if not name.endswith("num_batches_tracked")}
    result: dict[tuple[str, ...], jax.Array] = {}
    kept: list[str] = []
    wrong: list[str] = []
    for key, value in _flat(variables).items():
        name, layout = _name(key, rename), _to_torch(key, np.broadcast_to(0, value.shape)).shape
        array, result[key] = stored.pop(name, None), value
        head = key[1] == "head"
        if array is None:
            optional = head or any("attention" in part for part in key)
            (kept if optional else wrong).append(f"{name} {layout} is not in the file")
        elif array.shape == layout:
            result[key] = jnp.asarray(_from_torch(key, array), value.dtype)
        elif key[1].startswith("stem") and array.shape == (layout[0], 3, *layout[2:]) and layout[1] == 1:
            result[key] = jnp.asarray(_from_torch(key, array.sum(1, keepdims=True)), value.dtype)
        else:
            fits_but_for_classes = head and array.shape[1:] == layout[1:]
            difference = f"{name} is {array.shape} in the file, {layout} in the model"
            (kept if fits_but_for_classes else wrong).append(difference)
    wrong += [f"{name} {array.shape} is not in the model" for name, array in stored.items()]
    if wrong:
        raise UserError(f"{path}: {len(wrong)} tensors do not fit the model: {_first(wrong)}")
    if kept:
        progress.message(f"{Path(path).name}: {len(kept)} tensors stay as initialised: {_first(kept)}")
    return {**variables, **unflatten_dict(result)}


def export(
    variables: Mapping[str, Any],
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    *,
    rename: Rename = resnet_name,
) -> None:
    """Writes `params` and `batch_stats` as a safetensors file that torchvision loads.

    Attention mechanisms, which torchvision does not have, keep our names within its blocks.
    """
    path = Path(path)
    arrays = {
        _name(key, rename): np.ascontiguousarray(_to_torch(key, np.asarray(value)))
        for key, value in _flat(variables).items()
    }
    partial = path.with_name(f".{path.name}.partial")
    safetensors.numpy.save_file(arrays, partial, metadata={k: str(v) for k, v in (metadata or {}).items()})
    os.replace(partial, path)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of weights")
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file ({error})") from error


def _flat(variables: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    return flatten_dict({name: variables[name] for name in ("params", "batch_stats") if name in variables})


def _name(key: tuple[str, ...], rename: Rename) -> str:
    _, *module, leaf = key
    return ".".join([rename("/".join(module)), LEAVES.get(leaf, leaf)])


def _to_torch(key: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    """Kernels [*window, in, out] as [out, in, *window]."""
    return np.moveaxis(array, (-1, -2), (0, 1)) if key[-1] == "kernel" else array


def _from_torch(key: tuple[str, ...], array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, (0, 1), (-1, -2)) if key[-1] == "kernel" else array


def _first(lines: list[str]) -> str:
    return "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
