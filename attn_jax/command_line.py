"""What a user types, and what a command shows when something is wrong: one line and an exit code."""

import ast
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import io
import os
import pathlib
import platform
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from attn_jax.errors import UserError, did_you_mean

EXIT_WRONG_INPUT = 2
FLAGS = ("config", "workdir", "list")
WITHOUT_YNNPACK = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
HUGE_PAGES = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
FEW_CORES = 8
_EXAMPLE = "for example --config=configs/demo.py"
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list such as (0, 1) or 'a,b'",
    ConfigDict: "a dict such as \"{'field': 1}\"",
}


@dataclasses.dataclass
class Outcome:
    """The exit code a command ends with."""

    code: int = 0


@dataclasses.dataclass(frozen=True)
class Command:
    """What the command line asks for."""

    config: ConfigDict
    workdir: pathlib.Path
    only_list: bool


def tune_cpu() -> None:
    """Says what makes CPUs faster and must be said before JAX, or the program, starts."""
    leave_convolutions_to_eigen()
    keep_memory()


def leave_convolutions_to_eigen() -> None:
    """Asks XLA not to give convolutions to YNNPACK, which takes twice as long for some and is faster at none measured.

    At 224 px and batch 16 on two cores that takes ResNet-18's stem from 70 to 45 ms and 3 x 3 with 64 channels from 38
    to 21 ms. XLA ends a program that sets a flag it does not know: only for the versions it was measured with.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if importlib.metadata.version("jaxlib").startswith("0.10.") and "ynn_fusion_type" not in given:
        os.environ["XLA_FLAGS"] = " ".join(filter(None, (given, WITHOUT_YNNPACK)))


def keep_memory() -> None:
    """Starts this program anew, once, with the C library keeping what it was given back and asking for huge pages.

    A training step takes and returns gigabytes, each time in new pages that Linux fills with zeros. Huge pages, asked
    for where Linux waits for that, save a sixth of the step (ResNet-18 at 224 px on two cores: 10.1 images a second
    instead of 8.6); memory that is kept for the next step another twentieth (17.4 instead of 16.3; inference 85 instead
    of 80), and steps take the same time each. That needs one arena for all threads, for which they would queue where
    there are many. The C library reads its settings only at its start.
    """
    settings = {}
    if HUGE_PAGES.is_file() and "[madvise]" in HUGE_PAGES.read_text():
        settings["hugetlb"] = 1
    if platform.libc_ver()[0] == "glibc" and (os.cpu_count() or 1) <= FEW_CORES:
        settings |= {"mmap_max": 0, "trim_threshold": 1 << 62, "arena_max": 1}
    given = os.environ.get("GLIBC_TUNABLES", "")
    added = [f"glibc.malloc.{name}={value}" for name, value in settings.items() if f"glibc.malloc.{name}" not in given]
    if added:
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (given, *added)))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[Outcome]:
    """Turns a `UserError` into one line on stderr and exit code 2, and a stop into its own code.

    What the terminal's encoding lacks is printed as an escape from here on: a name must not end the program.
    """
    from attn_jax.training.preemption import EXIT_INTERRUPTED, Stopped

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    outcome = Outcome()
    try:
        yield outcome
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        outcome.code = EXIT_WRONG_INPUT
    except Stopped as stopped:
        print("stopped; the same command goes on from here.", file=sys.stderr)
        outcome.code = stopped.code
    except KeyboardInterrupt:
        outcome.code = EXIT_INTERRUPTED


def one_line(error: BaseException) -> str:
    """An exception's message without its line breaks; its type where it says nothing."""
    # str() quotes a KeyError and repeats a SyntaxError's place; ml_collections puts one error into another.
    text = error.args[0] if isinstance(error, (AttributeError, KeyError, SyntaxError)) and error.args else str(error)
    if isinstance(text, BaseException):
        return one_line(text)
    return " ".join(str(text).split()) or type(error).__name__


def parse(arguments: Sequence[str]) -> Command:
    """Reads the command line, the program's name first; absl's global flags are left alone.

    Raises:
        UserError: an unknown flag, a missing or broken config file, or a field, value or type that it does not have.
    """
    own, rest = _own_flags(arguments)
    if not own.config:
        raise UserError(f"--config is missing; {_EXAMPLE}")
    config = load_config(own.config)
    _make_room(config, rest)
    _override(config, rest)
    workdir = own.workdir or pathlib.Path("runs") / pathlib.Path(own.config).stem
    return Command(config, pathlib.Path(workdir), own.list)


def load_config(file: str) -> ConfigDict:
    """What the `get_config()` of a Python file returns.

    Raises:
        UserError: no such file, or whatever goes wrong in it, with the line.
    """
    path = pathlib.Path(file)
    if not path.is_file():
        known = (str(other) for other in path.parent.glob("*.py"))
        raise UserError(f"--config={file}: there is no such file.{did_you_mean(file, known)}")
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={file} is no Python file; {_EXAMPLE}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"--config={file}: it defines no get_config(); see configs/demo.py")
        config = module.get_config()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{_place(error, path)}: {type(error).__name__}: {one_line(error)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={file}: get_config() returns a {type(config).__name__}, not a ConfigDict")
    return config


def _own_flags(arguments: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
    """The values of `FLAGS`, and the arguments that are left."""
    own = flags.FlagValues()
    own.set_gnu_getopt()
    flags.DEFINE_string("config", None, "", flag_values=own)
    flags.DEFINE_string("workdir", None, "", flag_values=own)
    flags.DEFINE_bool("list", False, "", flag_values=own)
    try:
        return own, own(list(arguments), known_only=True)
    except flags.Error as error:
        raise UserError(_readable(error, {"list": bool})) from None


def _override(config: ConfigDict, rest: Sequence[str]) -> None:
    """Puts the values of `--config.FIELD=VALUE` into the config and locks it."""
    values = flags.FlagValues()
    kinds = {f"config.{path}": type(_field(config, path)) for path in _paths(rest)}
    rest = [_listed(argument, kinds) for argument in rest]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=list(rest))
        unknown = values(list(rest))[1:]
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"--{error.flagname} is no flag.{did_you_mean(error.flagname, FLAGS)}") from None
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, SyntaxError) as error:
        raise UserError(_readable(error, kinds)) from None
    if unknown:
        raise UserError(f"{unknown[0]!r} is not a flag; fields are set with --config.FIELD=VALUE")


def _listed(argument: str, kinds: dict[str, type]) -> str:
    """`--config.FIELD=a,b` as `--config.FIELD=('a', 'b')` where the field is a tuple."""
    name, _, value = argument.partition("=")
    if kinds.get(name.lstrip("-")) is not tuple or "," not in value or set(value) & set("([{'\""):
        return argument
    try:
        ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return f"{name}={tuple(part.strip() for part in value.split(','))}"
    return argument


def _paths(rest: Sequence[str]) -> list[str]:
    """The fields that the arguments set, by their dotted path."""
    found = [re.match(r"--?(?:no)?config\.([^=]+)", argument) for argument in rest]
    return [match[1] for match in found if match]


def _field(config: ConfigDict, path: str) -> Any:
    """A field by its dotted path.

    Raises:
        UserError: there is none; the line names the first part that is unknown.
    """
    value: Any = config
    for depth, part in enumerate(path.split(".")):
        here = ".".join(["config", *path.split(".")[:depth]])
        if not isinstance(value, ConfigDict):
            raise UserError(f"{here} is a value ({value!r}) and has no field {part!r}")
        if part not in value:
            raise UserError(f"{here} has no field {part!r}.{did_you_mean(part, value)}")
        value = value[part]
    return value


def _make_room(config: ConfigDict, rest: Sequence[str]) -> None:
    """Adds the fields that a config takes without listing them: options by any name, and data sets."""
    for path in _paths(rest):
        match path.split("."):
            case ["model", "attention_options", name] | ["optim", "options", name]:
                section = _field(config, path.rpartition(".")[0])
                if name not in section:
                    section[name] = config_dict.placeholder(object)
            case ["datasets", name, *inner, field] if "datasets" in config:
                like = _field(config, ".".join(["data", *inner, field]))
                section = config.datasets
                for part in (name, *inner):
                    if part not in section:
                        section[part] = ConfigDict()
                    section = section[part]
                if field not in section:
                    section[field] = like


def _place(error: BaseException, path: pathlib.Path) -> str:
    """`file:line` of what went wrong, in the config file where that is known."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if pathlib.Path(frame.filename).resolve() == path.resolve()]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _readable(error: BaseException, kinds: dict[str, type]) -> str:
    """absl's message in the words of somebody who has not read absl."""
    found = re.match(r"flag --(?:no)?([^=]+)=(.*?): ", one_line(error))
    if found and kinds.get(found[1]) in _KINDS:
        return f"--{found[1]}={found[2]} must be {_KINDS[kinds[found[1]]]}"
    return one_line(error)
