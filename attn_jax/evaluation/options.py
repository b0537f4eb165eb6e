"""What both commands on predictions are told: what is compared, and which difference is too small to matter."""

import argparse
import math

from attn_jax.evaluation.equivalence import MARGIN
from attn_jax.evaluation.metrics import METRICS


def add(parser: argparse.ArgumentParser) -> None:
    """Adds `predictions`, `--baseline`, `--metric`, `--margin` and `--common`."""
    parser.add_argument("predictions", nargs="+", metavar="PREDICTIONS", help=".csv or .parquet")
    parser.add_argument(
        "--baseline", default="", metavar="NAME", help="the model others are compared with; else 'none', else the first"
    )
    parser.add_argument(
        "--metric",
        default="auc",
        choices=METRICS,
        metavar="NAME",
        help=f"what models are ranked and compared by: {', '.join(METRICS)} (default: auc)",
    )
    parser.add_argument(
        "--margin",
        default=MARGIN,
        type=_margin,
        metavar="SIZE",
        help=f"a difference in the metric too small to matter, decided beforehand (default: {MARGIN:g})",
    )
    parser.add_argument("--common", action="store_true", help="compare on the test images that all models have")


def _margin(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no size above 0")
    return size
