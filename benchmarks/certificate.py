"""The certificate: for each mechanism where it comes from, what it costs, how exact it is and what it gathers.

    python benchmarks/certificate.py --only se cbam --columns static timing tpu

Measures what is missing in docs/certificate.json or older than the mechanism's file or goldens (`--all`: anew), writes
docs/certificate.md and prints it. May be stopped at any time: each mechanism is stored when it is measured. A mechanism
takes seconds for `static`, minutes for `timing` (leave the machine alone) and for `tpu`.
"""

import argparse
import collections
import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tpu_cost

from attn_jax import attention

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = ROOT / "tests" / "goldens" / "attention"
CELLS, PAGE = ROOT / "docs" / "certificate.json", ROOT / "docs" / "certificate.md"
SCRIPTS = {"static": "mechanism_facts.py", "timing": "mechanism_time.py", "tpu": "tpu_cost.py"}
NAMES = ("none", *attention.MECHANISMS)
Cells = dict[str, dict[str, dict[str, Any]]]

HEAD = """# Certificate

Made by `python benchmarks/certificate.py`; never edited by hand. One row is one mechanism with its defaults.

- **parameters**, **GMACs**: of ResNet-50 with 1000 classes at 224 pixels, the mechanism in its usual place.
- **forward**, **train**, **memory**: ResNet-18 at 224 pixels on a CPU, batch 16, float32: times of a forward pass and
  of a training step, and what that step holds at its peak, each over that of `none`, with which it took turns.
- **TPU bytes**: what a training step of the same network moves on one chip of a TPU v5e, by its compiler (bfloat16,
  batch 128), over that of `none`; with a smaller batch, in brackets, where that does not fit its 16 GB.
- **error**: the largest difference, of the largest number of each array, from another implementation's outputs and
  gradients, over all goldens of the mechanism and its variants.
- **gathers**: whether the compiled mechanism or its gradient, over eight devices that share a batch, or over two by
  four that share a batch and the rows of its images (`space`), gathers an activation; reasons below.

`–` is not measured yet; `*` was measured with another version of the mechanism's files.
"""
COLUMNS = (
    *("mechanism", "paper", "year", "place", "dimensions", "parameters", "GMACs", "forward", "train", "memory"),
    *("TPU bytes", "error float64", "float32", "gathers"),
)
TEXT = 5
"""The first columns are words."""


def digest(name: str, kind: str) -> str:
    """Of the mechanism's file and those of other mechanisms that it is made from, for `static` of its goldens, too;
    layers are left out."""
    if name == "none":
        return ""
    paths = sources(name)
    if kind == "static":
        goldens = GOLDENS.glob(f"{name}*.npz")
        paths += sorted(path for path in goldens if path.stem == name or path.stem[len(name)] == "_")
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def sources(name: str) -> list[Path]:
    """The mechanism's file, and after it those in its folder that it imports from, theirs included."""
    found = [Path(inspect.getfile(attention.MECHANISMS[name]))]
    for path in found:
        imported = re.findall(r"^from attn_jax\.attention\.(\w+) import", path.read_text(), re.MULTILINE)
        files = (path.with_name(f"{module}.py") for module in imported if module != "mechanism")
        found += [file for file in files if file not in found]
    return found


def load() -> Cells:
    """What is measured: by mechanism and kind of column."""
    return json.loads(CELLS.read_text()) if CELLS.exists() else {}


def save(cells: Cells) -> None:
    """Writes what is measured, and the page."""
    ordered = {name: cells[name] for name in NAMES if name in cells}
    for path, text in ((CELLS, json.dumps(ordered, indent=1) + "\n"), (PAGE, page(cells))):
        part = path.with_suffix(".partial")
        part.write_text(text)
        os.replace(part, path)


def page(cells: Cells) -> str:
    """The page in Markdown."""
    lines = [HEAD, _line(COLUMNS), _line(["---"] * TEXT + ["---:"] * (len(COLUMNS) - TEXT - 1) + ["---"])]
    lines += [_line(row(name, cells)) for name in NAMES if "static" in cells.get(name, {})]
    reasons = [
        f"- `{name}`, {where} shared: {why}."
        for name in NAMES
        for where, why in cells.get(name, {}).get("static", {}).get("measured", {}).get("gathers", {}).items()
    ]
    lines += ["", "Why activations are gathered:", "", *reasons, "", "Measured on:", ""]
    for kind in SCRIPTS:
        ran = {name: cells[name][kind]["ran"] for name in NAMES if kind in cells.get(name, {})}
        (most, _), *others = collections.Counter(ran.values()).most_common()
        lines += [f"- {kind}: {most}" + (", but for" if others else "")]
        for machine, _ in others:
            names = (f"`{name}`" for name, own in ran.items() if own == machine)
            lines += [f"  - {machine}: {', '.join(names)}"]
    return "\n".join(lines) + "\n"


def row(name: str, cells: Cells) -> list[str]:
    """The cells of one mechanism, as `COLUMNS`."""
    static = cells[name]["static"]["measured"]
    paper = f"[{static['paper']}]({static['link']})" if static["link"] else static["paper"]
    place = " ".join(filter(None, [static["placement"], ", ".join(map(str, static["stages"]))]))

    def ratio(kind: str, key: str) -> str:
        cell = cells[name].get(kind)
        if cell is None:
            return "–"
        value, smaller = cell["measured"][key], ""
        if kind == "tpu":
            if "tpu" not in cells.get("none", {}):
                return "–"
            value /= cell["measured"].get("none", cells["none"]["tpu"]["measured"][key])
            smaller = f" ({cell['measured']['batch']})" if "batch" in cell["measured"] else ""
        return f"{value:.2f}{smaller}" + ("" if cell["digest"] == digest(name, kind) else " *")

    return [
        *(f"`{name}`", paper, str(static["year"] or ""), place),
        ", ".join(f"{axes}-D" for axes in static["dimensions"]),
        *(f"{static['parameters']:,}", f"{static['macs'] / 1e9:.3f}"),
        *(ratio("timing", key) for key in ("forward ratio", "train ratio", "memory ratio")),
        ratio("tpu", "bytes"),
        *(f"{static['errors'][dtype]:.0e}" if static["errors"] else "" for dtype in ("float64", "float32")),
        "" if name == "none" else ", ".join(static["gathers"]) or "no",
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def measured(kind: str, names: list[str], tpu: Path) -> Iterator[dict[str, Any]]:
    """Runs the script of a kind of columns; yields each mechanism as soon as it is done."""
    command = [sys.executable, str(Path(__file__).with_name(SCRIPTS[kind])), *names]
    command += ["--json", "--network", "resnet18", "--environment", str(tpu)] if kind == "tpu" else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        sys.exit(f"{kind}: {SCRIPTS[kind]} ended with {process.returncode}; what was done before is stored")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--columns", nargs="+", default=list(SCRIPTS), choices=list(SCRIPTS))
    parser.add_argument("--all", action="store_true", help="measure also what is not older than its files")
    parser.add_argument("--tpu", type=Path, default=tpu_cost.ENVIRONMENT, help="environment with jax[tpu]")
    options = parser.parse_args()

    cells = load()
    for kind in options.columns:
        digests = {name: digest(name, kind) for name in options.only}
        stored = {name: cells.get(name, {}).get(kind, {}).get("digest") for name in options.only}
        names = [name for name in options.only if options.all or stored[name] != digests[name]]
        for found in measured(kind, names, options.tpu) if names else ():
            name = found.pop("name")
            cells.setdefault(name, {})[kind] = {"digest": digests[name], **found}
            save(cells)
            print(f"{kind}: {name}", file=sys.stderr)
    save(cells)
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
