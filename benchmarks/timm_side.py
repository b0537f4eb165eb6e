"""timm's side of step_time.py: answers a line of standard input with a line of output. Runs in timm's environment.

`make MODEL ATTENTION SIZE BATCH` builds a network in every variant; `KIND MODEL ATTENTION VARIANT COUNT` runs a step
and answers the mean seconds of COUNT more. Variants are the memory formats and, for inference, batch normalisation
folded into convolutions.
"""

import sys
import time
from collections.abc import Callable

import timm
import torch
from timm.layers.cbam import CbamModule
from timm.layers.coord_attn import CoordAttn
from timm.layers.eca import EcaModule
from timm.layers.global_context import GlobalContext
from timm.layers.squeeze_excite import SEModule
from torch.fx.experimental import optimization

# With the sizes, biases and fusions of our defaults.
MECHANISMS: dict[str, Callable[..., torch.nn.Module]] = {
    "se": lambda c, **types: SEModule(c, rd_channels=c // 16, **types),
    "eca": EcaModule,
    "cbam": lambda c, **types: CbamModule(c, rd_channels=c // 16, mlp_bias=True, **types),
    "gc": lambda c, **types: GlobalContext(c, fuse_add=True, fuse_scale=False, rd_channels=c // 16, **types),
    "coordinate": lambda c, **types: CoordAttn(c, rd_channels=max(8, c // 32), bias=True, **types),
}
FORMATS = {"first": torch.contiguous_format, "last": torch.channels_last}
Step = Callable[[], object]


def make(name: str, attention: str, size: int, batch: int) -> dict[tuple[str, str], Step]:
    """Training and inference steps by (kind, variant)."""
    options = {} if attention == "none" else {"block_args": {"attn_layer": MECHANISMS[attention]}}
    steps: dict[tuple[str, str], Step] = {}
    for variant, layout in FORMATS.items():
        model = timm.create_model(name, num_classes=1000, **options).to(memory_format=layout)
        images = torch.randn(batch, 3, size, size).to(memory_format=layout)
        labels = torch.arange(batch)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        folded = optimization.fuse(timm.create_model(name, num_classes=1000, **options).eval()).to(memory_format=layout)

        def train(model=model, images=images, labels=labels, optimizer=optimizer) -> None:
            model.train()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

        def infer(model=model, images=images) -> None:
            with torch.inference_mode():
                model.eval()(images)

        steps["train", variant], steps["infer", variant] = train, infer
        steps["infer", f"{variant}, folded"] = lambda folded=folded, images=images, run=infer: run(folded, images)
    return steps


def serve() -> None:
    """Reads commands until standard input ends."""
    torch.set_num_threads(int(sys.argv[1]))
    print(f"timm {timm.__version__} on torch {torch.__version__}", flush=True)
    known: dict[tuple[str, str], dict[tuple[str, str], Step]] = {}
    for line in sys.stdin:
        command, name, attention, *rest = line.rstrip("\n").split("\t")
        if command == "make":
            known[name, attention] = make(name, attention, int(rest[0]), int(rest[1]))
            print(";".join("\t".join(key) for key in known[name, attention]), flush=True)
        elif command == "forget":
            known.clear()
            print("forgotten", flush=True)
        else:
            step = known[name, attention][command, rest[0]]
            count = int(rest[1])
            step()
            start = time.perf_counter()
            for _ in range(count):
                step()
            print((time.perf_counter() - start) / count, flush=True)


if __name__ == "__main__":
    serve()
