"""RISE: Randomized Input Sampling for Explanation of Black-box Models, arXiv 1806.07421."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from attn_jax.errors import UserError
from attn_jax.explain.interpolation import along_axes, between_cells
from attn_jax.explain.scores import at_least_one, score, stacked, summed


def rise(
    model: nn.Module,
    variables: Any,
    images: Float[Array | np.ndarray, "B *space C"],
    targets: Int[Array | np.ndarray, "B"],
    *,
    key: Array,
    samples: int = 4000,
    cells: int = 7,
    kept: float = 0.5,
    at_once: int = 32,
) -> Float[Array, "B *space"]:
    """How far the target's mean logit over the random masks that show a pixel lies above that over all masks.

    The map is raw, float32, of the image's size and of both signs: where it is negative the class gains by hiding the
    pixel. Differs from the paper: it takes no mean off, which adds the same to every pixel of its map and, from few
    masks, noise that grows with it; and it weighs masks with the class's probability, where the logit serves networks
    of exclusive classes and of findings alike. Hidden pixels become 0, the mean of normalised images. The model,
    variables, images and targets are as in `grad_cam`.

    Args:
        key: of the masks, which are the same for all images of a batch, so that a map does not depend on the others.
        samples: masks.
        cells: cells of a mask along each axis of the image, before it is resized and shifted (no more than pixels).
        kept: probability that a cell is shown.
        at_once: masked images in one pass, which bounds the memory; one mask of the whole batch at least.

    Raises:
        UserError: no samples or cells, or a probability that is not above 0 and up to 1.
    """
    at_least_one(samples=samples, cells=cells)
    if not 0 < kept <= 1:
        raise UserError(f"kept={kept} is no probability above 0")
    arrays = variables, jnp.asarray(images), jnp.asarray(targets), key, jnp.asarray(kept)
    return _rise(model, samples, cells, at_once, *arrays)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _rise(
    model: nn.Module,
    samples: int,
    cells: int,
    at_once: int,
    variables: Any,
    images: Array,
    targets: Array,
    key: Array,
    kept: Array,
) -> Array:
    together = at_once // len(images)

    def mask(index: Array) -> Array:
        return random_mask(jax.random.fold_in(key, index), images.shape[1:-1], cells, kept)

    def masked_score(index: Array) -> Array:
        return score(model, variables, images * mask(index)[..., None].astype(images.dtype), targets)

    # Masks are drawn a second time, which costs far less than to keep them.
    scores = stacked(masked_score, samples, together)
    above = scores - scores.mean(axis=0)
    weighed = summed(lambda index: jnp.multiply.outer(above[index], mask(index)), samples, together)
    return weighed / (samples * kept)


def random_mask(
    key: Array, size: tuple[int, ...], cells: int, kept: float | Float[Array, ""]
) -> Float[Array, "*space"]:
    """A mask in [0, 1] whose every pixel has the mean `kept` (section 3.2).

    A grid of cells, each 1 with probability `kept`, is resized linearly to one cell more than covers the image, and cut
    out at a random place within that cell.
    """
    of_grid, of_place = jax.random.split(key)
    counts = [min(cells, side) for side in size]
    grid = jax.random.bernoulli(of_grid, kept, tuple(counts)).astype(jnp.float32)
    matrices = []
    for axis, (side, count) in enumerate(zip(size, counts, strict=True)):
        cell = -(-side // count)
        start = jax.random.randint(jax.random.fold_in(of_place, len(size) - axis), (), 0, cell)
        centres = (jnp.arange(side) + start + 0.5) * count / ((count + 1) * cell) - 0.5
        matrices.append(between_cells(centres, count))
    return along_axes(grid[None], matrices)[0]
