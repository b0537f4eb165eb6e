"""Which mechanisms gather activations on a TPU, by its compiler: the certificate's question, asked of the CPU's there.

    python benchmarks/tpu_partition.py se lka mhsa

No TPU is needed (see tpu_cost.py). Each mechanism and its gradient is compiled for eight chips of a v5e that share a
batch of 16, and for two by four that share the batch and the 64 rows of its images, which are 8 wide with 64 channels.
Prints a line for each with what the compiled program gathers. A TPU runs other formulations than a CPU.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tpu_cost

SHAPE = (16, 64, 8, 64)
GATHER = re.compile(r"= (\([^)]*\)|\S+?\]).* (?:all-gather|all-to-all)(?:-start)?\(")


def gathered(name: str) -> Iterator[tuple[str, list[str]]]:
    """How it is shared, and the shapes of what is gathered. Runs in the environment."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from attn_jax import attention

    module = attention.create(name)
    x = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), x)

    def gradients(variables, x):
        fixed = {kind: leaves for kind, leaves in variables.items() if kind != "params"}

        def loss(params, x):
            y, _ = module.apply({**fixed, "params": params}, x, train=True, mutable=["batch_stats"])
            return (y**2).sum()

        return jax.grad(loss, argnums=(0, 1))(variables.get("params", {}), x)

    chips = np.array(topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4").devices)
    for shared, mesh in (
        ("batch", Mesh(chips.reshape(8, 1), ("b", "h"))),
        ("space", Mesh(chips.reshape(2, 4), ("b", "h"))),
    ):
        apart, same = (NamedSharding(mesh, spec) for spec in (PartitionSpec("b", "h"), PartitionSpec()))
        jitted = jax.jit(gradients, in_shardings=(same, apart), out_shardings=(same, apart))
        yield shared, sorted(set(GATHER.findall(jitted.lower(variables, x).compile().as_text())))


def serve(names: list[str]) -> None:
    """Prints a line for each. Runs in the environment."""
    import jax
    import libtpu

    print(
        f"jax {jax.__version__}, libtpu {libtpu.__version__}; TPU v5e, {SHAPE[0]} x {' x '.join(map(str, SHAPE[1:]))}"
    )
    for name in names:
        for shared, shapes in gathered(name):
            print(f"{name:<12}{shared:<8}{', '.join(shapes) or 'nothing'}", flush=True)


def main() -> None:
    from attn_jax import attention

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(attention.MECHANISMS), metavar="name")
    parser.add_argument("--environment", type=Path, default=tpu_cost.ENVIRONMENT)
    options = parser.parse_args()
    command = [str(tpu_cost.python_of(options.environment)), __file__, "--serve", *options.names]
    sys.exit(subprocess.run(command, env={**os.environ, **tpu_cost.SURROUNDINGS}).returncode)


if __name__ == "__main__":
    serve(sys.argv[2:]) if sys.argv[1:2] == ["--serve"] else main()
