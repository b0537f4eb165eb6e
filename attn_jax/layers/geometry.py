"""One convolution's window, strides and padding, and the ways to compute it and its gradients.

Each comes plain, which is left to XLA, and from patches: the shifted copies of the input that meet each element of the
window, multiplied as matrices. XLA on a CPU (jax 0.10.2, measured at batch 32) needs the second for the gradient of the
kernel (64 channels on 64 x 64: 930 ms plain, 180 ms from patches) and for tiny maps (512 channels on 2 x 2: 230 ms and
4 ms, the gradients likewise).
"""

import dataclasses
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from attn_jax.layers import winograd
from attn_jax.layers.devices import one_device

CHUNK_BYTES = 4 * 2**20
"""Patches made at a time: what stays in a CPU's cache."""
FOLDED_CHANNELS = 4
"""Inputs times outputs of a convolution that a TPU takes better folded; four times as many of a large window."""
FOLDED_ELEMENTS = 2**17
"""The largest matrix that stands for an element of the other axes' window: two channels to one on 256 positions."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A convolution without its numbers; every field has one entry per spatial axis."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def fast_convolve(self, x: Array, kernel: Array) -> Callable[[Array, Array], Array]:
        """The formulation of the convolution that is the fastest on a CPU."""
        if self._tiny(x.shape):
            return self.convolve_patches
        if self._thin(kernel):
            return self.convolve_planes
        return self.convolve_winograd if self._winograd(x, kernel) else self.convolve

    def fast_input_gradient(self, x: Array, kernel: Array) -> Callable[[Array, Array, Array], Array]:
        """The formulation of the input's gradient that is the fastest on a CPU."""
        if self._tiny(x.shape):
            return self.input_gradient_patches
        if self._thin(kernel):
            return self.input_gradient_planes
        if self._winograd(x, kernel):
            return self.input_gradient_winograd
        # With several devices, a partitioner would gather what is read or written with a stride.
        strided = max(self.strides) > 1 and set(self.dilation) == {1} and one_device()
        return self.input_gradient_phases if strided else self.input_gradient

    def fast_kernel_gradient(self, kernel: Array) -> Callable[[Array, Array, Array], Array]:
        """The formulation of the kernel's gradient that is the fastest on a CPU."""
        plain = self._thin(kernel) or not self.few_elements()
        return self.kernel_gradient if plain else self.kernel_gradient_patches

    def folded(self, x: Array, kernel: Array) -> int | None:
        """The spatial axis that a TPU takes better folded into the channels, the window's part along it becoming a band
        of a matrix; none where it takes the convolution better as it is.

        Where few channels meet, its compiler (libtpu 0.0.42) reads the map anew for each element of the window, and
        its own kernel's gradient (2 to 1 channels on 56 x 56, batch 128) does not come to an end within minutes. The
        last axis that is short enough, since the first is the one that devices share.
        """
        most = FOLDED_CHANNELS * (4 if math.prod(self.window) > 25 else 1)
        if math.prod(kernel.shape[-2:]) > most or len(self.window) == 1:
            return None
        sizes = (math.prod(kernel.shape[-2:]) * n * m for n, m in zip(x.shape[1:-1], self._out(x.shape), strict=True))
        return max((axis for axis, size in enumerate(sizes) if size <= FOLDED_ELEMENTS), default=None)

    def few_elements(self) -> bool:
        """Whether a program may have a piece for each element of the window: 7 x 7 x 7 take a minute to compile."""
        return math.prod(self.window) <= 128

    def _tiny(self, shape: tuple[int, ...]) -> bool:
        """Whether the output is so small that patches are faster."""
        return max(self._out(shape)) <= 3 and self.few_elements()

    def _thin(self, kernel: Array) -> bool:
        """Whether so few channels meet that each is better a plane of its own (2 to 1 on 56 x 56: 6.2 and 0.5 ms)."""
        few = math.prod(kernel.shape[-2:]) <= 4 and self.few_elements() and set(self.strides) == {1}
        reaches = ((k - 1) * d for k, d in zip(self.window, self.dilation, strict=True))
        return few and all(max(pad) <= reach for pad, reach in zip(self.padding, reaches, strict=True))

    def _winograd(self, x: Array, kernel: Array) -> bool:
        """Whether Winograd's filtering applies and pays; with several devices a partitioner would gather its tiles."""
        fits = (self.window, self.strides, self.dilation) == ((3, 3), (1, 1), (1, 1))
        wide = min(kernel.shape[-2:]) >= 32 and max(max(pair) for pair in self.padding) <= 2
        return fits and wide and x.dtype == kernel.dtype == jnp.float32 and one_device()

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

    def convolve_planes(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"]
    ) -> Float[Array, "B *out F"]:
        """The convolution, for each pair of channels as a sum over the window."""
        # Stored apart, since what is read with a stride is not read by vectors.
        planes = lax.optimization_barrier(jnp.split(x, x.shape[-1], axis=-1))
        shifted = [copy for plane in planes for copy in self._shifted(plane)]
        weights = jnp.moveaxis(kernel, -2, 0).reshape(len(shifted), -1)
        outputs = (
            sum((copy * weight for copy, weight in zip(shifted, own, strict=True)), start=jnp.zeros((), x.dtype))
            for own in weights.T
        )
        return jnp.concatenate(list(outputs), axis=-1)

    def input_gradient_planes(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "B *space C"]:
        """What `dy` means for `x` at stride 1, for each pair of channels as a sum over the window."""
        pads = []
        for n, m, k, d, (low, _) in zip(
            x.shape[1:-1], dy.shape[1:-1], self.window, self.dilation, self.padding, strict=True
        ):
            pads.append(((k - 1) * d - low, n - m + low))
        turned = jnp.flip(kernel, range(len(pads))).swapaxes(-1, -2)
        return dataclasses.replace(self, padding=tuple(pads)).convolve_planes(dy, turned)

    def convolve_folded(
        self, axis: int, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"]
    ) -> Float[Array, "B *out F"]:
        """The convolution, with one spatial axis folded into the channels."""
        n, m = x.shape[axis + 1], self._out(x.shape)[axis]
        element = np.arange(n)[:, None] + self.padding[axis][0] - np.arange(m) * self.strides[axis]
        band = element == (np.arange(self.window[axis]) * self.dilation[axis])[:, None, None]
        matrix = jnp.einsum("k...cf,knm->...ncmf", jnp.moveaxis(kernel, axis, 0), band.astype(kernel.dtype))
        matrix = matrix.reshape(*matrix.shape[:-4], n * kernel.shape[-2], m * kernel.shape[-1])
        others = [other for other in range(len(self.window)) if other != axis]
        outer = Geometry(
            tuple(self.window[other] for other in others),
            tuple(self.strides[other] for other in others),
            tuple(self.padding[other] for other in others),
            tuple(self.dilation[other] for other in others),
        )
        x = jnp.moveaxis(x, axis + 1, -2)
        y = outer.convolve(x.reshape(*x.shape[:-2], -1), matrix)
        return jnp.moveaxis(y.reshape(*y.shape[:-1], m, -1), -2, axis + 1)

    def input_gradient_folded(
        self,
        axis: int,
        x: Float[Array, "B *space C"],
        kernel: Float[Array, "*window C F"],
        dy: Float[Array, "B *out F"],
    ) -> Float[Array, "B *space C"]:
        """What `dy` means for `x`, with one spatial axis folded into the channels."""
        return jax.linear_transpose(lambda x: self.convolve_folded(axis, x, kernel), x)(dy)[0]

    def kernel_gradient_folded(
        self,
        axis: int,
        x: Float[Array, "B *space C"],
        kernel: Float[Array, "*window C F"],
        dy: Float[Array, "B *out F"],
    ) -> Float[Array, "*window C F"]:
        """What `dy` means for `kernel`, with one spatial axis folded into the channels."""
        return jax.linear_transpose(lambda kernel: self.convolve_folded(axis, x, kernel), kernel)(dy)[0]

    def shifted_products(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window 1 C"]
    ) -> Float[Array, "B *out C"]:
        """The convolution of each channel with a kernel of its own, as a sum over the window."""
        return sum(
            (
                shifted * weight
                for shifted, weight in zip(self._shifted(x), kernel.reshape(-1, x.shape[-1]), strict=True)
            ),
            start=jnp.zeros((), x.dtype),
        )

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

    def convolve_winograd(
        self, x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C F"]
    ) -> Float[Array, "B outH outW F"]:
        """The convolution, by Winograd's filtering."""
        return winograd.convolve(x, kernel, self.padding)

    def input_gradient_phases(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "B *space C"]:
        """What `dy` means for `x` where the stride is above 1: positions that meet the same elements of the window
        together, so that no zeros are multiplied."""
        grid = [-(-n // s) for n, s in zip(x.shape[1:-1], self.strides, strict=True)]
        phases = jnp.stack([self._phase(at, grid, kernel, dy) for at in itertools.product(*map(range, self.strides))])
        phases = phases.reshape(*self.strides, *phases.shape[1:])
        spatial = len(grid)
        order = [spatial, *itertools.chain(*((spatial + 1 + i, i) for i in range(spatial))), 2 * spatial + 1]
        whole = phases.transpose(order).reshape(len(x), *(n * s for n, s in zip(grid, self.strides, strict=True)), -1)
        return lax.slice(whole, (0,) * x.ndim, x.shape)

    def _phase(self, at: tuple[int, ...], grid: list[int], kernel: Array, dy: Array) -> Array:
        """The gradient at the positions `at` modulo the strides, as a convolution of `dy` of stride 1."""
        taps, pads = [], []
        for r, n, k, s, (low, _), m in zip(
            at, grid, self.window, self.strides, self.padding, dy.shape[1:-1], strict=True
        ):
            first = (r + low) % s
            count = len(range(first, k, s))
            taps.append(slice(first, None, s))
            before = count - 1 - (r + low - first) // s
            pads.append((before, n - m - before + count - 1))
        part = jnp.swapaxes(kernel[tuple(taps)], -1, -2)
        part = jnp.flip(part, range(len(grid)))
        if not part.size:
            return jnp.zeros((len(dy), *grid, kernel.shape[-2]), dy.dtype)
        ones = (1,) * len(grid)
        return Geometry(part.shape[:-2], ones, tuple(pads), ones).convolve(dy, part)

    def input_gradient_winograd(
        self, x: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C F"], dy: Float[Array, "B outH outW F"]
    ) -> Float[Array, "B H W C"]:
        """What `dy` means for `x`, by Winograd's filtering."""
        return winograd.input_gradient(kernel, dy, self.padding)

    def kernel_gradient(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "*window C F"]:
        """What `dy` means for `kernel`, plain."""
        return jax.linear_transpose(lambda kernel: self.convolve(x, kernel), kernel)(dy)[0]

    def kernel_gradient_patches(
        self, x: Float[Array, "B *space C"], kernel: Float[Array, "*window C F"], dy: Float[Array, "B *out F"]
    ) -> Float[Array, "*window C F"]:
        """What `dy` means for `kernel`, from as many patches at a time as stay in the cache."""
        if x.shape[-1] < 8 and self._packs():
            return self._kernel_gradient_packed(x, kernel, dy)
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

    def _packs(self) -> bool:
        return min(self.strides) > 1 and set(self.dilation) == {1} and one_device()

    def _kernel_gradient_packed(self, x: Array, kernel: Array, dy: Array) -> Array:
        """The same for few channels: the positions within a stride become channels, which are copied together."""
        window = tuple(-(-k // s) for k, s in zip(self.window, self.strides, strict=True))
        edges = []
        for n, k, s, (low, _), m in zip(x.shape[1:-1], window, self.strides, self.padding, dy.shape[1:-1], strict=True):
            edges.append((low, (m + k - 1) * s - n - low, 0))
        spatial, ones = len(window), (1,) * len(window)
        packed = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
        shape = itertools.chain(*((n // s, s) for n, s in zip(packed.shape[1:-1], self.strides, strict=True)))
        packed = packed.reshape(len(x), *shape, x.shape[-1])
        inner, outer = range(2, 2 * spatial + 1, 2), range(1, 2 * spatial, 2)
        packed = packed.transpose(0, *outer, *inner, 2 * spatial + 1).reshape(
            len(x), *packed.shape[1 : 2 * spatial : 2], -1
        )
        part = Geometry(window, ones, tuple((0, 0) for _ in window), ones)
        like = jnp.zeros((*window, packed.shape[-1], kernel.shape[-1]), kernel.dtype)
        gradient = part.kernel_gradient_patches(packed, like, dy)
        gradient = gradient.reshape(*window, *self.strides, *kernel.shape[-2:])
        order = itertools.chain(*((i, spatial + i) for i in range(spatial)), (2 * spatial, 2 * spatial + 1))
        sides = (k * s for k, s in zip(window, self.strides, strict=True))
        gradient = gradient.transpose(*order).reshape(*sides, *kernel.shape[-2:])
        return lax.slice(gradient, (0,) * kernel.ndim, kernel.shape)

    def _at_a_time(self, x: Array) -> tuple[int, int]:
        """How many images, and how many elements of the window, to make patches of at a time.

        All images where there are several devices: a loop over the images of a sharded batch would gather them.
        """
        batch, channels = x.shape[0], x.shape[-1]
        element = math.prod(self._out(x.shape)) * channels * x.dtype.itemsize
        window = math.prod(self.window)
        images = batch
        if one_device():
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
