"""What can be told of a mechanism without timing it: where it comes from, its size, how exact it is, what it gathers.

    python benchmarks/mechanism_facts.py se cbam

Parity and gathers are found by the functions of the tests, on eight CPU devices. Prints a line of JSON for each.
"""

import argparse
import datetime
import functools
import json
import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"  # as the tests
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from attn_jax import attention, models  # noqa: E402
from attn_jax.errors import UserError  # noqa: E402
from attn_jax.models import cost  # noqa: E402

TESTS = Path(__file__).resolve().parents[1] / "tests" / "attention"


def origin(name: str) -> dict[str, Any]:
    """Where the mechanism was published, a link to it and the year, from the first words of its file."""
    header = sys.modules[attention.MECHANISMS[name].__module__].__doc__ or ""
    if "negative control" in header:
        return {"paper": "control", "link": None, "year": None}
    if found := re.search(r"arXiv (\d\d)(\d\d\.\d+)", header):
        number = f"{found[1]}{found[2]}"
        return {"paper": f"arXiv {number}", "link": f"https://arxiv.org/abs/{number}", "year": 2000 + int(found[1])}
    year = int(re.search(r"\b20\d\d\b", header)[0])
    if found := re.search(r"doi (10\.\S+?)\.?\s", header):
        return {"paper": f"doi {found[1]}", "link": f"https://doi.org/{found[1]}", "year": year}
    venue, page = re.search(r"\b([A-Z]{3,}) 20\d\d,\s(\S+\.html)", header).groups()
    return {"paper": venue, "link": f"https://{page}", "year": year}


def place(name: str) -> dict[str, Any]:
    """Its usual placement and stages in ResNet-50, and the dimensions of images it is defined for."""
    slot = models.create("resnet50", num_classes=1000, attention=name).attention
    module = attention.create(name)
    try:
        jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((2, 4, 4, 4, 32)), train=False))
    except UserError:
        return {"placement": slot.placement, "stages": slot.stages, "dimensions": [2]}
    return {"placement": slot.placement, "stages": slot.stages, "dimensions": [2, 3]}


def size(name: str) -> dict[str, int]:
    """Parameters and forward multiply-accumulates of ResNet-50 with it, for one image of 224 pixels."""
    model = models.create("resnet50", num_classes=1000, attention=name)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), image)
    variables = {kind: variables[kind] for kind in ("params", "batch_stats")}
    macs = cost.macs(lambda variables, x: model.apply(variables, x, train=False), variables, image)
    return {"parameters": cost.parameters(variables), "macs": macs}


@functools.cache
def tests() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The names of conftest.py, those of test_partition.py, and the table of goldens, from all files."""
    sys.path.append(str(TESTS.parent))  # as pytest's pythonpath
    goldens: dict[str, Any] = {}
    for path in sorted(TESTS.glob("test_*.py")):
        goldens |= runpy.run_path(str(path)).get("PARITY", {})
    conftest, partition = (runpy.run_path(str(TESTS / f"{file}.py")) for file in ("conftest", "test_partition"))
    return conftest, partition, goldens


def parity(name: str) -> dict[str, Any]:
    """The largest error over all goldens of the mechanism and its variants, by type of number."""
    conftest, _, goldens = tests()
    own = {golden: conftest["Parity"](**facts) for golden, facts in goldens.items() if facts["mechanism"] == name}
    worst = {
        dtype.__name__: max((max(conftest["errors"](golden, facts, dtype).values()) for golden, facts in own.items()))
        for dtype in (np.float64, np.float32)
        if own
    }
    return {"goldens": len(own), "errors": worst}


def gathers(name: str) -> dict[str, str]:
    """Where it gathers activations, and why."""
    _, partition, _ = tests()
    reasons = partition["MUST_GATHER"]
    return {
        sharding: reasons.get(name, "for no known reason")
        for sharding in partition["MESHES"]
        if partition["gathered"](name, sharding)
    }


def none() -> dict[str, Any]:
    """What holds of the network without a mechanism."""
    nowhere: dict[str, Any] = {"paper": "", "link": None, "year": None, "placement": "", "stages": [], "dimensions": []}
    return {**nowhere, **size("none"), "goldens": 0, "errors": {}, "gathers": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="mechanisms, or none")
    ran = f"jax {jax.__version__}, {datetime.date.today()}"
    for name in parser.parse_args().names:
        if name == "none":
            measured = none()
        else:
            measured = {**origin(name), **place(name), **size(name), **parity(name), "gathers": gathers(name)}
        print(json.dumps({"name": name, "measured": measured, "ran": ran}), flush=True)


if __name__ == "__main__":
    main()
