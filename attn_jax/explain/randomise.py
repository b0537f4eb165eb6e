"""Networks that forget from the top down, to see whether their maps go with what they knew.

Cascading randomisation of Adebayo et al. 2018, arXiv 1810.03292. Differs from the paper, which draws from the
initialiser: weights are permuted, as Quantus does for TensorFlow (Hedström et al. 2023, arXiv 2202.06861). So their
mean, standard deviation and tails stay as trained, branches that start at zero stay alive, and where a weight stands is
all that is forgotten: a map does not change because the weights' scale was lost.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from attn_jax.errors import UserError


def cascade(
    params: Mapping[str, Any], layers: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Randomises one layer after the other, from the output to the input, and keeps those before randomised.

    A leaf named `scale` becomes 1 and one named `bias` 0; the numbers of every other leaf are permuted among its places
    (a single number, such as a gate's `alpha`, stays as it was; few numbers may come back near their places). Running
    statistics are no parameters and no longer fit what comes out of permuted weights: see `forget_statistics`.

    Args:
        params: the `params` of a linen network, nested by module; not changed, and shared where nothing is randomised.
        layers: all top-level names of `params` in the order of their calls, from the input to the output, such as
            `[path for path in explain.layers.outputs(model, variables, images) if path in params]`.
        rng: equal generators draw equal networks.

    Yields:
        The name of a layer, and `params` with it and all layers above it randomised.

    Raises:
        UserError: `layers` are not the names in `params`, each once.
    """
    if sorted(layers) != sorted(params):
        missing, unknown = sorted(set(params) - set(layers)), sorted(set(layers) - set(params))
        raise UserError(
            "layers to randomise must be all top-level modules with parameters, each once: "
            f"missing {', '.join(missing) or 'none'}; unknown {', '.join(unknown) or 'none'}"
        )
    return _cascade(dict(params), layers, rng)


def forget_statistics(batch_stats: Mapping[str, Any], layers: Sequence[str]) -> dict[str, Any]:
    """`batch_stats` with the mean 0 and the variance 1 of a new network in the layers that `cascade` has randomised.

    As `reset_parameters`, by which Quantus randomises networks of PyTorch, does for a batch normalisation. Trained ones
    would divide by the spread of activations that are no longer there.

    Args:
        batch_stats: running statistics of a linen network, nested by module, with leaves `mean` and `var`; not changed.
        layers: top-level names; those that have no statistics are passed over.
    """
    return {name: _new(name, tree) if name in layers else tree for name, tree in batch_stats.items()}


def _new(name: str, tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _new(key, branch) for key, branch in tree.items()}
    return np.full_like(tree, name == "var")


def _cascade(
    params: dict[str, Any], layers: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, dict[str, Any]]]:
    for layer in reversed(layers):
        params = params | {layer: _randomised(layer, params[layer], rng)}
        yield layer, params


def _randomised(name: str, tree: Any, rng: np.random.Generator) -> Any:
    if isinstance(tree, Mapping):
        return {key: _randomised(key, branch, rng) for key, branch in tree.items()}
    leaf = np.asarray(tree)
    if name in ("scale", "bias"):
        return np.full_like(leaf, name == "scale")
    return rng.permutation(leaf.reshape(-1)).reshape(leaf.shape)
