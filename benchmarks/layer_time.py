"""Milliseconds of each convolution of a network, ours and PyTorch's, on the same cores in one run: which shape costs.

    python benchmarks/layer_time.py --network resnet50

What is timed is a forward pass in float32 as the network does it in evaluation: convolution, the scale and shift of
batch normalisation, ReLU; PyTorch's with the normalisation folded into kernel and bias, channels last. The sides take
turns; medians over the rounds of the mean of several calls. PyTorch runs in an environment of its own (`--torch`, made
there with pip if it is missing), with as many threads.
"""

import argparse
import collections
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from other_side import answering

PACKAGES = ("torch==2.14.1", "numpy")
SECONDS = 0.15
"""How long the calls of a turn take together, about."""


class Shape(NamedTuple):
    """A convolution of [B, H, W, `channels`]."""

    size: int
    channels: int
    features: int
    window: int
    stride: int

    def gflop(self, batch: int) -> float:
        """Multiplications and additions, by 1e9."""
        out = -(-self.size // self.stride)
        return 2e-9 * batch * out**2 * self.window**2 * self.channels * self.features


def per_call(call: Callable[[], object]) -> float:
    """Seconds of a call: the mean of as many as take `SECONDS`, after one that does not count."""
    start = time.perf_counter()
    call()
    count = max(1, int(SECONDS / (time.perf_counter() - start)))
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def shapes(network: str, size: int) -> collections.Counter[Shape]:
    """The network's convolutions without groups, and how often each occurs."""
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    from attn_jax import models
    from attn_jax.layers.conv import Conv

    found: collections.Counter[Shape] = collections.Counter()

    def note(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if isinstance(module, Conv) and context.method_name == "__call__" and module.groups == 1:
            x = args[0]
            window, stride = (np.broadcast_to(v, 2)[0] for v in (module.kernel_size, module.strides))
            found[Shape(x.shape[1], x.shape[-1], module.features, int(window), int(stride))] += 1
        return call(*args, **kwargs)

    def run(key: jax.Array) -> Any:
        with nn.intercept_methods(note):
            return models.create(network, num_classes=1000).init(key, jnp.zeros((1, size, size, 3)), train=False)

    jax.eval_shape(run, jax.random.key(0))
    return found


def ours(shape: Shape, batch: int) -> Callable[[], object]:
    """Our convolution, compiled."""
    import jax
    import jax.numpy as jnp

    from attn_jax.layers.conv import convolve

    def run(x: jax.Array, kernel: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
        around = shape.window // 2
        y = convolve(x, kernel, strides=(shape.stride,) * 2, padding=((around, around),) * 2, dilation=(1, 1))
        return jax.nn.relu(y * scale + shift)

    kernel = (shape.window, shape.window, shape.channels, shape.features)
    sizes = ((batch, shape.size, shape.size, shape.channels), kernel, (shape.features,), (shape.features,))
    arrays = [jnp.asarray(np.random.default_rng(0).normal(size=size).astype(np.float32)) for size in sizes]
    compiled = jax.jit(run).lower(*arrays).compile()
    return lambda: jax.block_until_ready(compiled(*arrays))


def serve(threads: int, batch: int) -> None:
    """PyTorch's side: answers a shape with the seconds of a call. Runs in the environment."""
    import torch

    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}", flush=True)
    for line in sys.stdin:
        shape = Shape(*json.loads(line))
        layer = torch.nn.Conv2d(shape.channels, shape.features, shape.window, shape.stride, shape.window // 2)
        block = torch.nn.Sequential(layer, torch.nn.ReLU(inplace=True)).to(memory_format=torch.channels_last)
        x = torch.randn(batch, shape.channels, shape.size, shape.size).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            block(x)
            print(per_call(lambda block=block, x=x: block(x)), flush=True)


def main() -> None:
    from attn_jax.command_line import tune_cpu

    tune_cpu()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", type=Path, default=Path.home() / ".cache" / "attn_jax" / "torch")
    options = parser.parse_args()

    import jax
    from mechanism_time import processor

    cores = len(os.sched_getaffinity(0))
    with answering(options.torch, PACKAGES, "layer_time.py", "--serve", cores, options.batch) as ask:
        print(f"{processor()}, {cores} cores; jax {jax.__version__}, {ask()}")
        print(f"{options.network}, {options.size} px, batch {options.batch}, {options.rounds} rounds")
        print(f"{'input':<14}{'output':>7}{'window':>8}{'times':>7}{'ours, ms':>10}{'theirs':>8}{'behind':>8}  GFLOP/s")
        lines = []
        for shape, times in shapes(options.network, options.size).items():
            mine = ours(shape, options.batch)
            turns = np.array([(per_call(mine), float(ask(json.dumps(shape)))) for _ in range(options.rounds)])
            lines.append((shape, times, *np.median(turns, 0)))
    for shape, times, own, other in sorted(lines, key=lambda line: line[1] * (line[3] - line[2])):
        window = f"{shape.window}x{shape.window}" + (f"/{shape.stride}" if shape.stride > 1 else "")
        print(
            f"{f'{shape.size} x {shape.size} x {shape.channels}':<14}{shape.features:>7}{window:>8}{times:>7}"
            f"{1e3 * own:>10.2f}{1e3 * other:>8.2f}{1e3 * times * (own - other):>8.1f}"
            f"{shape.gflop(options.batch) / own:>6.0f}{shape.gflop(options.batch) / other:>5.0f}"
        )
    own, other = (1e3 * sum(line[1] * line[side] for line in lines) for side in (2, 3))
    print(f"all: {own:.0f} and {other:.0f} ms a step")


if __name__ == "__main__":
    serve(*map(int, sys.argv[2:])) if sys.argv[1:2] == ["--serve"] else main()
