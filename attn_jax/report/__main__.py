"""A page from predictions made anywhere: `python -m attn_jax.report PREDICTIONS... [--baseline NAME] [--metric NAME]
[--margin SIZE] [--common] [--out DIR]`.

PREDICTIONS are CSV or Parquet files as `python -m attn_jax.evaluation` takes them. Writes `report.html`, its tables and
figures, and `evidence.json` into the folder of `--out`.

Exit codes: 0 done; 2 the files cannot be read or compared.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from attn_jax import command_line, report
from attn_jax.evaluation import options
from attn_jax.evaluation.panel import read_models
from attn_jax.report import files
from attn_jax.report.from_predictions import contents


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m attn_jax.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add(parser)
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("report"), metavar="DIR", help="default: report"
    )
    told = parser.parse_args(arguments)
    with command_line.errors_in_one_line() as outcome:
        files.check(told.out)
        sources = read_models(told.predictions)
        made = contents(sources, baseline=told.baseline, metric=told.metric, margin=told.margin, common=told.common)
        print(report.write(made, told.out))
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
