"""Runs a study: `python main.py --config=configs/demo.py [--workdir=DIR] [--list] [--config.FIELD=VALUE ...]`.

--config   the study's config, a file in configs/
--workdir  where the study is kept; runs/<config> unless given
--list     print the cells of the grid with their state, and run nothing

Exit codes: 0 all done; 1 a bug; 2 the config or the data are wrong; 3 finished with failed cells; 42 told to stop and
saved (the same command goes on); 130 interrupted.
"""

import sys

from attn_jax import command_line


def main(arguments: list[str]) -> int:
    """Parses the command line (the program's name first) and runs the study; returns the exit code."""
    if {"--help", "-h"} & set(arguments[1:]):
        print(__doc__)
        return 0
    with command_line.errors_in_one_line() as outcome:
        command = command_line.parse(arguments)
        from attn_jax import study

        outcome.code = study.run(command.config, command.workdir, only_list=command.only_list)
    return outcome.code


if __name__ == "__main__":
    command_line.tune_cpu()
    sys.exit(main(sys.argv))
