"""Judges predictions: `python -m attn_jax.evaluation PREDICTIONS... [--baseline NAME] [--common] [--json OUT]`.

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
from attn_jax.evaluation import as_json, records
from attn_jax.evaluation.across import across
from attn_jax.evaluation.evidence import OnDataset, Settings, gather
from attn_jax.evaluation.text import across_lines, lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m attn_jax.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", nargs="+", metavar="PREDICTIONS", help=".csv or .parquet")
    parser.add_argument(
        "--baseline", default="", metavar="NAME", help="the model others are compared with; else 'none', else the first"
    )
    parser.add_argument("--common", action="store_true", help="compare on the test images that all models have")
    parser.add_argument("--json", type=pathlib.Path, metavar="OUT", help="write every number there at full precision")
    options = parser.parse_args(arguments)
    with command_line.errors_in_one_line() as outcome:
        settings = Settings(baseline=options.baseline)
        found = gather(records.read_models(options.predictions), settings, common=options.common)
        print("\n".join(line for of in found for line in lines(of, settings)))
        together = across(found, settings)
        if together is not None:
            print("\n".join(across_lines(together, settings)))
        if options.json:
            _write(options.json, found, settings)
    return outcome.code


def _write(path: pathlib.Path, found: Sequence[OnDataset], settings: Settings) -> None:
    text = as_json.dump(found, settings)
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"--json {path}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
