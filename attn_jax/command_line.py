"""What a command shows when something is wrong: one line and an exit code."""

import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator

from absl import flags

from attn_jax.errors import UserError

EXIT_WRONG_INPUT = 2


@dataclasses.dataclass
class Outcome:
    """The exit code a command ends with."""

    code: int = 0


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[Outcome]:
    """Turns a `UserError` into one line on stderr and exit code 2, and a stop into its own code."""
    from attn_jax.training.preemption import Stopped

    outcome = Outcome()
    try:
        yield outcome
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        outcome.code = EXIT_WRONG_INPUT
    except Stopped as stopped:
        print("stopped; the same command goes on from here.", file=sys.stderr)
        outcome.code = stopped.code
    except KeyboardInterrupt:
        outcome.code = 130


def parse(values: flags.FlagValues, arguments: list[str]) -> None:
    """Parses absl flags with a config file.

    Raises:
        UserError: an unknown flag, a missing or broken config file, or a field, value or type that it does not have.
    """
    try:
        rest = values(arguments)
        if values["config"].value is None:
            raise UserError("--config is missing; for example --config=configs/demo.py")
    except flags.Error as error:
        raise UserError(_first_line(error)) from None
    except (AttributeError, KeyError, TypeError, ValueError, SyntaxError, ImportError, OSError) as error:
        raise UserError(_first_line(error)) from None
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag; fields are set with --config.FIELD=VALUE")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error.args[0] if error.args else error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return re.sub(r"\s+", " ", text)
