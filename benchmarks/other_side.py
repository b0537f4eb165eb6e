"""The other side of a comparison: a script in a Python environment of its own, which answers line by line."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

Ask = Callable[..., str]


@contextlib.contextmanager
def answering(environment: Path, packages: tuple[str, ...], script: str, *arguments: object) -> Iterator[Ask]:
    """Starts `script`, a file beside this one, in `environment`, made there with pip if it is missing.

    Yields what sends it words and returns its next line; without any words it only waits for that.
    """
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    command = [str(python), str(Path(__file__).with_name(script)), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        written, read = process.stdin, process.stdout

        def ask(*words: object) -> str:
            if words:
                written.write("\t".join(map(str, words)) + "\n")
                written.flush()
            return read.readline().strip()

        yield ask
        process.stdin.close()
