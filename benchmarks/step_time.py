"""Images a second of our ResNets and PyTorch's, training and inference, on the same cores in the same run.

    python benchmarks/step_time.py --sizes 64 224 --models resnet18 resnet50

The two take turns, one step each, so that whatever else the machine does meets both; medians over the pairs. PyTorch
runs in an environment of its own (`--torch`, made there with pip if it is missing), with as many threads, in the better
of its two memory formats. A step is forward, backward and an SGD update in float32, or a forward pass in evaluation.
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Step = Callable[[], object]


def ours(name: str, size: int, stem: str, batch: int, attention: str) -> tuple[Step, Step]:
    """Our training and inference step, compiled."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from attn_jax import models

    model = models.create(name, num_classes=10, stem=stem, attention=attention)
    images = jnp.asarray(np.random.default_rng(0).standard_normal((batch, size, size, 3)), jnp.float32)
    labels = jnp.arange(batch) % 10
    variables = jax.jit(lambda key: model.init(key, images[:1], train=False))(jax.random.key(0))
    optimizer = optax.sgd(0.01, momentum=0.9)

    def loss(params, statistics):
        logits, new = model.apply(
            {"params": params, "batch_stats": statistics}, images, train=True, mutable=["batch_stats"]
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), new["batch_stats"]

    def update(params, statistics, state):
        gradients, statistics = jax.grad(loss, has_aux=True)(params, statistics)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), statistics, state

    step = jax.jit(update, donate_argnums=(0, 1, 2))
    forward = jax.jit(
        lambda params, statistics: model.apply({"params": params, "batch_stats": statistics}, images, train=False)
    )
    held = [jax.tree.map(jnp.copy, variables["params"]), jax.tree.map(jnp.copy, variables["batch_stats"])]
    training = [*held, optimizer.init(held[0])]

    def train() -> None:
        training[:] = jax.block_until_ready(step(*training))

    return train, lambda: jax.block_until_ready(forward(variables["params"], variables["batch_stats"]))


def theirs(name: str, size: int, stem: str, batch: int, channels_last: bool) -> tuple[Step, Step]:
    """torchvision's training and inference step. Runs in the other environment."""
    import torch
    import torchvision

    kind = torch.channels_last if channels_last else torch.contiguous_format
    model = getattr(torchvision.models, name)(num_classes=10)
    if stem == "small":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    model = model.to(memory_format=kind)
    images = torch.randn(batch, 3, size, size).to(memory_format=kind)
    labels = torch.arange(batch) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train() -> None:
        model.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            model(images)

    return train, infer


def serve() -> None:
    """PyTorch's side: reads `name size stem batch`, answers; then a kind of step a line, answered by its seconds."""
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    print(torch.__version__, flush=True)
    steps: dict[str, Step] = {}
    for line in sys.stdin:
        kind, *rest = line.split()
        if kind == "make":
            name, size, stem, batch = rest
            for last in (False, True):
                train, infer = theirs(name, int(size), stem, int(batch), last)
                steps |= {f"train{int(last)}": train, f"infer{int(last)}": infer}
            print("made", flush=True)
        else:
            print(seconds(steps[kind]), flush=True)


def seconds(step: Step) -> float:
    """How long one step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


@contextlib.contextmanager
def pytorch(environment: Path, threads: int) -> Iterator[Callable[[str], str]]:
    """Starts the other side; yields what sends it a line and returns the answer."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "torch", "torchvision"], check=True)
    command = [str(python), __file__, "--serve", str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(line: str) -> str:
            if line:
                process.stdin.write(line + "\n")
                process.stdin.flush()
            return process.stdout.readline().strip()

        yield ask
        process.stdin.close()


def compare(ask: Callable[[str], str], name: str, size: int, stem: str, batch: int, attention: str, pairs: int) -> None:
    """Prints one line each for training and inference."""
    ask(f"make {name} {size} {stem} {batch}")
    for kind, step in zip(("train", "infer"), ours(name, size, stem, batch, attention), strict=True):
        step()
        formats = [f"{kind}{last}" for last in (0, 1)]
        best = min(formats, key=lambda one: min(float(ask(one)) for _ in range(3)))
        times = [(seconds(step), float(ask(best))) for _ in range(pairs)]
        mine, other = (batch / statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(theirs / own for own, theirs in times)
        layout = "channels last" if best.endswith("1") else "channels first"
        print(f"{name:<10}{size:>4} {stem:<9}{attention:<6}{kind:<7}{mine:>9.1f}{other:>9.1f}{ratio:>7.2f}  {layout}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 224])
    parser.add_argument("--stem", default="imagenet", choices=["imagenet", "small"])
    parser.add_argument("--attention", default="none", help="ours only; PyTorch's side stays without")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--torch", type=Path, default=Path.home() / ".cache" / "attn_jax" / "torch")
    options = parser.parse_args()

    import jax

    cores = len(os.sched_getaffinity(0))
    with pytorch(options.torch, cores) as ask:
        load = os.getloadavg()[0]
        print(f"{platform.processor() or platform.machine()}, {cores} cores, load {load:.1f} before the start")
        print(f"jax {jax.__version__} against torch {ask('')}; batch {options.batch}, {options.pairs} pairs, medians")
        print(f"{'model':<10}{'size':>4} {'stem':<9}{'ours':<6}{'':<7}{'images/s':>9}{'PyTorch':>9}{'ratio':>7}")
        for name in options.models:
            for size in options.sizes:
                compare(ask, name, size, options.stem, options.batch, options.attention, options.pairs)


if __name__ == "__main__":
    serve() if sys.argv[1:2] == ["--serve"] else main()
