"""Judges predictions: `python -m attn_jax.evaluation PREDICTIONS... [--baseline NAME] [--metric NAME] [--margin SIZE]
[--common] [--json OUT]`.

PREDICTIONS are CSV or Parquet files, one row an image: image_id, label, score (of the positive) or score_<class> each;
optionally group (patient), split, model, seed, dataset, and columns that part the images into subgroups. A file without
a column `model` is one model, called as the file.

Exit codes: 0 done; 2 the files cannot be read or compared.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from attn_jax import command_line
from attn_jax.errors import UserError
from attn_jax.evaluation import as_json, options
from attn_jax.evaluation.across import across
from attn_jax.evaluation.evidence import Settings, gather
from attn_jax.evaluation.panel import read_models
from attn_jax.evaluation.text import across_lines, lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m attn_jax.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add(parser)
    parser.add_argument("--json", type=pathlib.Path, metavar="OUT", help="write every number there at full precision")
    told = parser.parse_args(arguments)
    with command_line.errors_in_one_line() as outcome:
        settings = Settings(baseline=told.baseline, metric=told.metric, margin=told.margin)
        if told.json:
            _check(told.json)
        found = gather(read_models(told.predictions), settings, common=told.common)
        together = across(found, settings)
        if told.json:
            _write(told.json, as_json.dump(found, settings, together))
        for line in (*(line for of in found for line in lines(of, settings)), *across_lines(together, settings)):
            print(line)
    return outcome.code


def _check(path: pathlib.Path) -> None:
    """Before hours of work, not after."""
    if path.is_dir():
        raise UserError(f"--json {path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise UserError(f"--json {path}: no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--json {path}: the folder {str(path.parent)!r} cannot be written to")


def _write(path: pathlib.Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"--json {path}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
