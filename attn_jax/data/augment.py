"""Random changes to training images, made on the device inside the step.

Every random number comes from the image's own key, so an image is changed in the same way whatever its batch, the
number of devices or the floating-point type. What is switched off is not traced.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from attn_jax.data.affine import about_centre, resample, rotation
from attn_jax.errors import UserError, did_you_mean

Keys = PRNGKeyArray | Array

_RANGES = {
    "rotate": (0, 180), "scale": (0, 3), "shift": (0, 1), "shear": (0, 60), "crop": (0, 1), "brightness": (0, 1),
    "contrast": (0, 10), "gamma": (0, 10), "noise": (0, 1), "cutout": (0, 1), "mixup": (0, 100), "cutmix": (0, 100),
}  # fmt: skip
_PURPOSES = ("flip_lr", "flip_ud", "axis", *_RANGES, "crop_place", "cutmix_place", "partner", "coin")


@dataclasses.dataclass(frozen=True)
class Augment:
    """What may happen to a training image; 0 or False switches it off. "Up to" means uniform between both signs.

    Attributes:
        flip_lr, flip_ud: mirror the last and the last but one axis of space, each for half of the images.
        rotate: up to so many degrees; a volume turns about a random axis.
        scale: zoom by a factor between 1 / (1 + scale) and 1 + scale, uniform in its logarithm.
        shift: up to this fraction of the side, along every axis.
        shear: up to so many degrees.
        crop: smallest fraction of the area (or volume) that a crop keeps before it is enlarged to the whole.
        brightness: add up to this much (of a range of 1).
        contrast: stretch about the image's mean by a factor like `scale`'s.
        gamma: raise to a power like `scale`'s factor.
        noise: standard deviation of added Gaussian noise.
        cutout: side of a box filled with the image's mean, as a fraction of the image's side.
        mixup, cutmix: alpha of Beta(alpha, alpha) for mixing with a partner (arXiv 1710.09412, 1905.04899); with both,
            a coin chooses for each image.
    """

    flip_lr: bool = False
    flip_ud: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    crop: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip_lr", "flip_ud"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(f"augment.{name}={getattr(self, name)!r} must be True or False")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise UserError(f"augment.{name}={value!r} must be a number from {low} to {high}; 0 switches it off")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Reads a mapping of field names; raises UserError for a field that is unknown or out of range."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in config:
            if name not in names:
                raise UserError(f"augment.{name} is unknown.{did_you_mean(name, names)}")
        return cls(**config)

    @property
    def mixes(self) -> bool:
        """Whether `augment` needs a partner for every image."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def warps(self) -> bool:
        """Whether anything asks for resampling (flips alone do not)."""
        return any((self.rotate, self.scale, self.shift, self.shear)) or 0 < self.crop < 1


def example_keys(key: Keys, step: Int[Array, ""] | int, indices: Int[Array, " B"]) -> Keys:
    """One key per image, from the training key, the step, and the image's place in the global batch."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, step), indices)


def augment(
    options: Augment,
    images: Float[Array, "B *space C"],
    targets: Float[Array, "B K"],
    keys: Keys,
    pair_images: Float[Array, "B *space C"] | None = None,
    pair_targets: Float[Array, "B K"] | None = None,
) -> tuple[Float[Array, "B *space C"], Float[Array, "B K"]]:
    """Changes every image after its own key.

    Args:
        options: static; what is off costs nothing.
        images: in [0, 1]; what comes out is clipped to that where intensities change.
        targets: class probabilities, or findings with nan for unknown (which stays unknown when mixed).
        keys: from `example_keys`.
        pair_images, pair_targets: the partners; needed when `options.mixes`. They are changed too, by own keys.
    """
    if options == Augment():
        return images, targets
    if not options.mixes:
        return jax.vmap(functools.partial(_change, options))(images, keys), targets
    if pair_images is None or pair_targets is None:
        raise ValueError("mixup and cutmix need pair_images and pair_targets")

    def one(image: Array, target: Array, key: Keys, other: Array, other_target: Array) -> tuple[Array, Array]:
        both, own_keys = jnp.stack([image, other]), jnp.stack([key, _fold(key, "partner")])
        image, other = jax.vmap(functools.partial(_change, options))(both, own_keys)
        return _mix(options, image, target, other, other_target, key)

    return jax.vmap(one)(images, targets, keys, pair_images, pair_targets)


def symmetric_beta(key: Keys, alpha: float) -> Float[Array, ""]:
    """A draw from Beta(alpha, alpha), without `jax.random.beta`'s rejection loop, in which all devices wait for one.

    If T follows Student's t with 2 alpha degrees of freedom, 1/2 + T / (2 sqrt(2 alpha + T^2)) is Beta(alpha, alpha);
    T is had in closed form from two uniforms (Bailey 1994, Mathematics of Computation 62), arranged not to overflow.
    """
    u, v = jax.random.uniform(key, (2,), jnp.float32)
    tail = u ** (1 / alpha)
    cos = jnp.cos(2 * math.pi * v)
    return 0.5 + 0.5 * cos * jnp.sqrt((1 - tail) / (tail + (1 - tail) * cos**2))


def box(
    space: tuple[int, ...], centre: Float[Array, " n"], fraction: Float[Array, ""] | float
) -> tuple[Bool[Array, "*space 1"], Int[Array, ""]]:
    """A box of `fraction` of every side around `centre` (in [0, 1)), cut at the borders, and its number of pixels."""
    inside, pixels = jnp.ones((*space, 1), bool), jnp.ones((), jnp.int32)
    for axis, size in enumerate(space):
        length = jnp.round(jnp.asarray(fraction, jnp.float32) * size).astype(jnp.int32)
        start = jnp.floor(centre[axis] * size).astype(jnp.int32) - length // 2
        low, high = jnp.clip(start, 0, size), jnp.clip(start + length, 0, size)
        at = jax.lax.broadcasted_iota(jnp.int32, (*space, 1), axis)
        inside, pixels = inside & (at >= low) & (at < high), pixels * (high - low)
    return inside, pixels


def _fold(key: Keys, purpose: str) -> Keys:
    return jax.random.fold_in(key, _PURPOSES.index(purpose))


def _uniform(key: Keys, purpose: str, shape: tuple[int, ...] = ()) -> Array:
    """Always single precision: the same numbers in a double-precision run."""
    return jax.random.uniform(_fold(key, purpose), shape, jnp.float32)


def _up_to(key: Keys, purpose: str, limit: float, shape: tuple[int, ...] = ()) -> Array:
    return limit * (2 * _uniform(key, purpose, shape) - 1)


def _factor(key: Keys, purpose: str, limit: float) -> Array:
    return jnp.exp(_up_to(key, purpose, math.log1p(limit)))


def _change(options: Augment, image: Array, key: Keys) -> Array:
    """Geometry, then intensity, then cutout, of one image."""
    if options.warps:
        matrix, offset = _draw_map(options, image.shape[:-1], key)
        image = resample(image, matrix.astype(jnp.promote_types(image.dtype, jnp.float32)), offset)
    else:
        for name, axis in (("flip_lr", -2), ("flip_ud", -3)):
            if getattr(options, name):
                image = jnp.where(_uniform(key, name) < 0.5, jnp.flip(image, axis), image)
    image = _change_intensity(options, image, key)
    if options.cutout:
        space = image.shape[:-1]
        hole, _ = box(space, _uniform(key, "cutout", (len(space),)), options.cutout)
        image = jnp.where(hole, image.mean(tuple(range(len(space)))), image)
    return image


def _draw_map(options: Augment, space: tuple[int, ...], key: Keys) -> tuple[Array, Array]:
    """Flips, rotation, shear, zoom, crop and shift as one matrix and offset, from output to source coordinates."""
    n = len(space)
    sides = jnp.array(space, jnp.float32)
    linear, shift = jnp.eye(n), jnp.zeros(n)
    if options.rotate:
        pole = None
        if n == 3:
            pole = jax.random.normal(_fold(key, "axis"), (3,), jnp.float32)
            pole /= jnp.linalg.norm(pole)
        linear = rotation(_up_to(key, "rotate", math.radians(options.rotate)), pole)
    if options.shear:
        below = jnp.tril_indices(n, -1)
        angles = _up_to(key, "shear", math.radians(options.shear), (len(below[0]),))
        linear = jnp.dot(linear, jnp.eye(n).at[below].set(jnp.tan(angles)), precision="highest")
    if options.scale:
        linear = linear / _factor(key, "scale", options.scale)
    for name, axis in (("flip_lr", n - 1), ("flip_ud", n - 2)):
        if getattr(options, name):
            sign = jnp.where(_uniform(key, name) < 0.5, -1.0, 1.0)
            linear = linear.at[axis].multiply(sign)
    if 0 < options.crop < 1:
        side = (options.crop + (1 - options.crop) * _uniform(key, "crop")) ** (1 / n)
        linear, shift = linear * side, shift + _up_to(key, "crop_place", 0.5, (n,)) * (1 - side) * sides
    if options.shift:
        shift = shift + _up_to(key, "shift", options.shift, (n,)) * sides
    return about_centre(space, linear, shift)


def _change_intensity(options: Augment, image: Array, key: Keys) -> Array:
    dtype = image.dtype
    if options.contrast:
        mean = image.mean()
        image = mean + (image - mean) * _factor(key, "contrast", options.contrast).astype(dtype)
    if options.brightness:
        image = image + _up_to(key, "brightness", options.brightness).astype(dtype)
    if options.gamma:
        image = jnp.clip(image, 0, 1) ** _factor(key, "gamma", options.gamma).astype(dtype)
    if options.noise:
        image = image + options.noise * jax.random.normal(_fold(key, "noise"), image.shape, jnp.float32).astype(dtype)
    if options.contrast or options.brightness or options.noise:
        image = jnp.clip(image, 0, 1)
    return image


def _mix(
    options: Augment, image: Array, target: Array, other: Array, other_target: Array, key: Keys
) -> tuple[Array, Array]:
    """Blends with the partner (mixup), or puts a box of it in (cutmix); the target is weighted alike."""
    keep = share = jnp.ones((), image.dtype)
    if options.mixup:
        keep = share = symmetric_beta(_fold(key, "mixup"), options.mixup).astype(image.dtype)
    if options.cutmix:
        space = image.shape[:-1]
        side = (1 - symmetric_beta(_fold(key, "cutmix"), options.cutmix)) ** (1 / len(space))
        inside, pixels = box(space, _uniform(key, "cutmix_place", (len(space),)), side)
        kept = jnp.where(inside, 0, 1).astype(image.dtype)
        kept_share = (math.prod(space) - pixels).astype(image.dtype) / math.prod(space)
        if options.mixup:
            cut = _uniform(key, "coin") < 0.5
            keep, share = jnp.where(cut, kept, keep), jnp.where(cut, kept_share, share)
        else:
            keep, share = kept, kept_share
    share = share.astype(target.dtype)
    return keep * image + (1 - keep) * other, share * target + (1 - share) * other_target
