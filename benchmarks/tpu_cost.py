"""What the TPU compiler says of a training step on one chip of a v5e: bytes moved, operations, memory.

    python benchmarks/tpu_cost.py se cbam

No TPU is needed, only `jax[tpu]`, in an environment of its own (`--environment`, made there with pip if it is missing).
The step is ResNet-50's at 224 pixels with a mechanism (`none` for none), in bfloat16 with 128 images. Prints a line of
JSON for each; one takes minutes.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = Path.home() / ".cache" / "attn_jax" / "tpu"
NETWORK, BATCH, CHIP = "resnet50", 128, "v5e:2x2"


def python_of(environment: Path) -> Path:
    """The environment's Python, with `jax[tpu]` and what networks import, at the versions of constraints.txt."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        packages = ("jax[tpu]", "flax", "optax", "jaxtyping")
        pip = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *packages], check=True)
    return python


def measure(attention: str) -> dict[str, float]:
    """Bytes, operations and memory of the compiled step. Runs in the environment."""
    import jax
    import jax.numpy as jnp
    import network_step
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    chip = topologies.get_topology_desc(platform="tpu", topology_name=CHIP).devices[0]
    step = network_step.make(NETWORK, attention, batch=BATCH, dtype=jnp.bfloat16)
    place = SingleDeviceSharding(chip)
    jitted = jax.jit(step.train, donate_argnums=(0, 1, 2), in_shardings=place, out_shardings=place)
    compiled = jitted.lower(*step.shapes).compile()
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return {
        "bytes": cost["bytes accessed"],
        "flops": cost["flops"],
        "memory": memory.temp_size_in_bytes + memory.argument_size_in_bytes,
    }


def serve(names: list[str]) -> None:
    """Prints the lines. Runs in the environment."""
    import jax
    import libtpu

    ran = f"jax {jax.__version__}, libtpu {libtpu.__version__}, {datetime.date.today()}"
    for name in names:
        print(json.dumps({"name": name, "measured": measure(name), "ran": ran}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="mechanisms, or none")
    parser.add_argument("--environment", type=Path, default=ENVIRONMENT)
    options = parser.parse_args()
    # The compiler asks for a TPU's surroundings and, left alone, for a server that knows them.
    surroundings = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
    environment = {**os.environ, **surroundings, "PYTHONPATH": str(ROOT)}
    command = [str(python_of(options.environment)), __file__, "--serve", *options.names]
    sys.exit(subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode)


if __name__ == "__main__":
    serve(sys.argv[2:]) if sys.argv[1:2] == ["--serve"] else main()
