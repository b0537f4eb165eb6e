"""Runs a study: `python main.py --config=configs/demo.py [--workdir=DIR] [--list] [--config.FIELD=VALUE ...]`.

Exit codes: 0 all done; 1 a bug; 2 the config or the data are wrong; 3 finished with failed cells; 42 told to stop and
saved (the same command goes on); 130 interrupted.
"""

import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from attn_jax import command_line

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "The study's config, a file in configs/.")
flags.DEFINE_string("workdir", None, "Where the study is kept (default: runs/<config>).")
flags.DEFINE_bool("list", False, "Print the cells of the grid with their state, and run nothing.")


def main(arguments: list[str]) -> int:
    """Parses the command line and runs the study; returns the exit code."""
    with command_line.errors_in_one_line() as outcome:
        command_line.parse(FLAGS, arguments)
        from attn_jax import study

        config_file = config_flags.get_config_filename(FLAGS["config"])
        workdir = FLAGS.workdir or pathlib.Path("runs") / pathlib.Path(config_file).stem
        outcome.code = study.run(FLAGS.config, workdir, only_list=FLAGS.list)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
