"""A page from predictions made anywhere: `python -m attn_jax.report PREDICTIONS... [--baseline NAME] [--common]`.

PREDICTIONS are CSV or Parquet files as `python -m attn_jax.evaluation` takes them. Writes `report.html`, its tables and
figures, and `evidence.json` into the folder of `--out`.

Exit codes: 0 done; 2 the files cannot be read or compared.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from attn_jax import command_line, report
from attn_jax.evaluation.records import read_models
from attn_jax.report.from_predictions import contents


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m attn_jax.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", nargs="+", metavar="PREDICTIONS", help=".csv or .parquet")
    parser.add_argument(
        "--baseline", default="", metavar="NAME", help="what others are compared with; else none, else the first"
    )
    parser.add_argument("--common", action="store_true", help="compare on the test images that all models have")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("report"), metavar="DIR", help="default: report"
    )
    options = parser.parse_args(arguments)
    with command_line.errors_in_one_line() as outcome:
        sources = read_models(options.predictions)
        made = contents(sources, baseline=options.baseline, common=options.common)
        print(report.write(made, options.out))
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
