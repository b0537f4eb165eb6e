"""What the TPU compiler says of a training step on one chip of a v5e: bytes moved, operations, memory.

    python benchmarks/tpu_cost.py none se eca gc cbam

No TPU is needed, only `jax[tpu]`, in an environment of its own (`--environment`, made there with pip if it is missing).
The step is that of a network at 224 pixels with a mechanism (`none` for none), in bfloat16 with 128 images, or half as
many as often as it takes to fit. Prints a line for each, with its bytes over those of `none` where that came first, or
of `none` with as many images; one takes minutes.

A pass is one reading or writing of all that the mechanisms of the network give back, in bfloat16. The bytes beyond
those of `none` are given in passes too: a gate that sees the whole input must read it before it can multiply it,
forward and in the gradient, so that none costs nothing, however well it is fused.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = Path.home() / ".cache" / "attn_jax" / "tpu"
BATCH, CHIP = 128, "v5e:2x2"
# The compiler asks for a TPU's surroundings and, left alone, for a server that knows them.
SURROUNDINGS = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "PYTHONPATH": str(ROOT),
}
NAMES = ("none", "se", "eca", "gc", "cbam")


def python_of(environment: Path) -> Path:
    """The environment's Python, with `jax[tpu]` and what networks import, at the versions of constraints.txt."""
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        packages = ("jax[tpu]", "flax", "optax", "jaxtyping")
        pip = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *packages], check=True)
    return python


def measure(network: str, attention: str, batch: int) -> dict[str, float]:
    """Bytes, operations and memory of the compiled step, and the bytes of a pass. Runs in the environment."""
    import jax
    import jax.numpy as jnp
    import network_step
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    chip = topologies.get_topology_desc(platform="tpu", topology_name=CHIP).devices[0]
    step = network_step.make(network, attention, batch=batch, dtype=jnp.bfloat16)
    place = SingleDeviceSharding(chip)
    jitted = jax.jit(step.train, donate_argnums=(0, 1, 2), in_shardings=place, out_shardings=place)
    compiled = jitted.lower(*step.shapes).compile()
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    return {
        "bytes": cost["bytes accessed"],
        "flops": cost["flops"],
        "memory": memory.temp_size_in_bytes + memory.argument_size_in_bytes,
        "pass": sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(step.mechanisms())),
    }


def measure_what_fits(network: str, attention: str) -> dict[str, float]:
    """As `measure`, with half the batch as often as it takes to fit the chip; then with it and the bytes of `none`."""
    import jax

    batch = BATCH
    while True:
        try:
            found = measure(network, attention, batch)
        except jax.errors.JaxRuntimeError as error:
            if "Ran out of memory" not in str(error) or batch == 1:
                raise
            batch //= 2
        else:
            beside = {"batch": batch, "none": measure(network, "none", batch)["bytes"]} if batch < BATCH else {}
            return found | beside


def serve(network: str, names: list[str]) -> None:
    """Prints a line of JSON for each. Runs in the environment."""
    import jax
    import libtpu

    ran = f"{network}, jax {jax.__version__}, libtpu {libtpu.__version__}, {datetime.date.today()}"
    for name in names:
        print(json.dumps({"name": name, "measured": measure_what_fits(network, name), "ran": ran}), flush=True)


def table(lines: list[dict]) -> None:
    """Prints a line for each mechanism."""
    print(f"{lines[0]['ran']}; TPU v5e, bfloat16, batch {BATCH} or, where that does not fit, as told, 224 px")
    print(f"{'attention':<12}{'GB a step':>10}{'over none':>10}{'passes':>8}{'memory, GB':>12}")
    none = next((line["measured"]["bytes"] for line in lines if line["name"] == "none"), None)
    for line in lines:
        found = line["measured"]
        print(f"{line['name']:<12}{found['bytes'] / 1e9:>10.2f}", end="")
        ratio, passes, base = "", "", found.get("none", none)
        if base is not None:
            ratio = f"{found['bytes'] / base:.3f}"
            passes = f"{(found['bytes'] - base) / found['pass']:.1f}" if found["pass"] else ""
        smaller = f"  batch {found['batch']}" if "batch" in found else ""
        print(f"{ratio:>10}{passes:>8}{found['memory'] / 1e9:>12.2f}{smaller}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES, metavar="name", help="mechanisms, or none")
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each, as soon as it is done")
    parser.add_argument("--environment", type=Path, default=ENVIRONMENT)
    options = parser.parse_args()
    environment = {**os.environ, **SURROUNDINGS}
    command = [str(python_of(options.environment)), __file__, "--serve", options.network, *options.names]
    lines = []
    # The compiler warns of much; only what ended it is of interest.
    warnings = tempfile.TemporaryFile("w+")
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": warnings, "text": True}
    with warnings, subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(json.loads(line))
            if options.json:
                print(line, end="", flush=True)
        if process.wait():
            warnings.seek(0)
            print(*warnings.readlines()[-1:], end="", file=sys.stderr)
    if lines and not options.json:
        table(lines)
    sys.exit(process.returncode)


if __name__ == "__main__":
    serve(sys.argv[2], sys.argv[3:]) if sys.argv[1:2] == ["--serve"] else main()
