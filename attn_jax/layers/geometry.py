"""One convolution's window, strides and padding, and the ways to compute it and its gradients.

Each comes plain, which is left to XLA, and from patches: the shifted copies of the input that meet each element of the
window, multiplied as matrices. XLA on a CPU (jax 0.10.2, measured at batch 32) needs the second for the gradient of the
kernel (64 channels on 64 x 64: 930 ms plain, 180 ms from patches) and for tiny maps (512 channels on 2 x 2: 230 ms and
4 ms, the gradients likewise).
"""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

CHUNK_BYTES = 4 * 2**20
"""Patches made at a time: what stays in a CPU's cache."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A convolution without its numbers; every field has one entry per spatial axis."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def tiny(self, shape: tuple[int, ...]) -> bool:
        """Whether an input of this shape gives a map so small that a CPU had better multiply patches."""
        return max(self._out(shape)) <= 3

    def convolve(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window _ F"], groups: int = 1
    ) -> Float[Array, "B *out F"]:
        """The convolution, plain."""
        letters = "DHW"[-len(self.window) :]
        return lax.conv_general_dilated(
            x,
            kernel,
            self.strides,
            self.padding,
            rhs_dilation=self.dilation,
            feature_group_count=groups,
            dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        )

    def convolve_patches(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"]
    ) -> Float[Array, "B *out F"]:
        """The convolution, from patches."""
        return jnp.dot(self._patches(x), kernel.reshape(-1, kernel.shape[-1]))

    def input_gradient(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "B *space C"]:
        """What `dy` means for `x`, plain."""
        return jax.linear_transpose(lambda x: self.convolve(x, kernel), x)(dy)[0]

    def input_gradient_patches(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "B *space C"]:
        """What `dy` means for `x`: each patch's part, added up where patches overlap."""
        patches = jnp.dot(dy, kernel.reshape(-1, kernel.shape[-1]).T)
        return jax.linear_transpose(self._patches, x)(patches)[0]

    def kernel_gradient(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "*window C F"]:
        """What `dy` means for `kernel`, plain."""
        return jax.linear_transpose(lambda kernel: self.convolve(x, kernel), kernel)(dy)[0]

    def kernel_gradient_patches(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "*window C F"]:
        """What `dy` means for `kernel`, from as many patches at a time as stay in the cache."""
        images, elements = self._at_a_time(x)

        def product(x: Array, dy: Array) -> Array:
            axes = tuple(range(dy.ndim - 1))
            shifted = self._shifted(x)
            groups = [jnp.concatenate(shifted[i : i + elements], axis=-1) for i in range(0, len(shifted), elements)]
            return jnp.concatenate([lax.dot_general(dy, g, ((axes, axes), ((), ()))) for g in groups], axis=-1)

        if images == x.shape[0]:
            total = product(x, dy)
        else:
            pieces = tuple(array.reshape(-1, images, *array.shape[1:]) for array in (x, dy))
            start = jnp.zeros((kernel.shape[-1], kernel.size // kernel.shape[-1]), kernel.dtype)
            total, _ = lax.scan(lambda total, piece: (total + product(*piece), None), start, pieces)
        return total.T.reshape(kernel.shape)

    def _at_a_time(self, x: Array) -> tuple[int, int]:
        """How many images, and how many elements of the window, to make patches of at a time.

        All images where there are several devices: a loop over the images of a sharded batch would gather them.
        """
        batch, channels = x.shape[0], x.shape[-1]
        element = math.prod(self._out(x.shape)) * channels * x.dtype.itemsize
        window = math.prod(self.window)
        images = batch
        if jax.device_count() == 1:
            fitting = [n for n in range(1, batch + 1) if batch % n == 0 and n * window * element <= CHUNK_BYTES]
            images = max(fitting, default=1)
        # A product of fewer than 64 columns leaves the processor idle.
        elements = max(CHUNK_BYTES // (images * element), math.ceil(64 / channels))
        return images, min(elements, window)

    def _out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        sides = zip(shape[1:-1], self.window, self.strides, self.padding, self.dilation, strict=True)
        return tuple((n + sum(pad) - (k - 1) * d - 1) // s + 1 for n, k, s, pad, d in sides)

    def _patches(self, x: Float[Array, "B *space C"]) -> Float[Array, "B *out WC"]:
        """For every output position the inputs under the window, the window's elements outermost."""
        return jnp.concatenate(self._shifted(x), axis=-1)

    def _shifted(self, x: Float[Array, "B *space C"]) -> list[Float[Array, "B *out C"]]:
        """For every element of the window the inputs that it meets."""
        out = self._out(x.shape)
        padded = jnp.pad(x, ((0, 0), *self.padding, (0, 0)))
        copies = []
        for offset in itertools.product(*(range(k) for k in self.window)):
            starts = [o * d for o, d in zip(offset, self.dilation, strict=True)]
            stops = [start + (n - 1) * s + 1 for start, n, s in zip(starts, out, self.strides, strict=True)]
            copies.append(lax.slice(padded, (0, *starts, 0), (x.shape[0], *stops, x.shape[-1]), (1, *self.strides, 1)))
        return copies
