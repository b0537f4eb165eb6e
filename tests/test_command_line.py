"""What is typed: values reach the config, and every mistake ends in one line and exit code 2."""

import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys
import types

import pytest

from attn_jax import command_line
from attn_jax.errors import UserError
from attn_jax.training.preemption import Stopped

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEMO = f"--config={ROOT}/configs/demo.py"


@pytest.fixture(scope="module")
def main() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("attn_jax_main", ROOT / "main.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(*arguments: str) -> command_line.Command:
    return command_line.parse(["main.py", *arguments])


def write_config(folder: pathlib.Path, *lines: str) -> str:
    start = ("from attn_jax.study.defaults import default_config", "def get_config():", "    config = default_config()")
    path = folder / "mine.py"
    path.write_text("\n".join([*start, *(f"    {line}" for line in lines), "    return config"]))
    return f"--config={path}"


@pytest.mark.parametrize(
    ("argument", "path", "value"),
    [
        ("--config.training.epochs=3", "training.epochs", 3),
        ("--config.model.width=1", "model.width", 1.0),
        ("--noconfig.augment.flip_lr", "augment.flip_lr", False),
        ("--config.augment.flip_ud", "augment.flip_ud", True),
        ("--config.data.path=/a b=c", "data.path", "/a b=c"),
        ("--config.grid.seed=0,1,2", "grid.seed", (0, 1, 2)),
        ("--config.grid.seed=()", "grid.seed", ()),
        ("--config.grid.seed=4", "grid.seed", (4,)),
        ("--config.grid.attention=none,se", "grid.attention", ("none", "se")),
        ("--config.grid.attention=('none','se')", "grid.attention", ("none", "se")),
        ("--config.grid.stages=((3,4),(1,2,3,4))", "grid.stages", ((3, 4), (1, 2, 3, 4))),
        ("--config.optim.freeze=stage1, stem", "optim.freeze", ("stage1", "stem")),
        ("--config.model.attention_options.reduction=8", "model.attention_options", {"reduction": 8}),
        ("--config.optim.options={'b1': 0.8}", "optim.options", {"b1": 0.8}),
        ("--config.datasets.mine.split.seed=2", "datasets.mine", {"split": {"seed": 2}}),
        ("--config.datasets={'a': {'path': '/x'}}", "datasets", {"a": {"path": "/x"}}),
        ("--config.only=seed=0|1,attention=se", "only", "seed=0|1,attention=se"),
    ],
)
def test_values_reach_the_config(argument: str, path: str, value: object) -> None:
    for arguments in ((DEMO, argument), (argument, DEMO)):
        found = parse(*arguments).config
        for part in path.split("."):
            found = found[part]
        assert (found.to_dict() if hasattr(found, "to_dict") else found) == value


def test_the_working_directory_is_named_after_the_config() -> None:
    assert parse(DEMO).workdir == pathlib.Path("runs/demo")
    assert parse(DEMO, "--workdir=here").workdir == pathlib.Path("here")
    assert parse("--list", DEMO).only_list
    assert parse(DEMO).config.is_locked


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--config is missing"),
        (("--config=configs/nope.py",), "configs/nope.py: there is no such file"),
        ((DEMO + "x",), "Did you mean"),
        ((f"--config={ROOT}/pyproject.toml",), "no Python file"),
        ((DEMO, "--workdirr=x"), "--workdirr is no flag. Did you mean 'workdir'?"),
        ((DEMO, "stray"), "'stray' is not a flag"),
        ((DEMO, "--list=maybe"), "--list=maybe must be true or false"),
        ((DEMO, "--config.modl.name=x"), "config has no field 'modl'. Did you mean 'model'?"),
        ((DEMO, "--config.model.nam=x"), "config.model has no field 'nam'. Did you mean 'name'?"),
        ((DEMO, "--config.model.name.x=y"), "config.model.name is a value ('resnet18')"),
        ((DEMO, "--config.training.epochs=ten"), "--config.training.epochs=ten must be a whole number"),
        ((DEMO, "--config.training.epochs=1.5"), "must be a whole number"),
        ((DEMO, "--config.training.epochs"), "--config.training.epochs"),
        ((DEMO, "--config.model.width=abc"), "--config.model.width=abc must be a number"),
        ((DEMO, "--config.augment.flip_lr=maybe"), "must be true or false"),
        ((DEMO, "--config.grid.seed=(0,1"), "must be a list"),
        ((DEMO, "--config.training=5"), "must be a dict"),
        ((DEMO, "--config.datasets.a.pat=/x"), "no field 'pat'. Did you mean 'path'?"),
    ],
)
def test_mistakes_on_the_command_line(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(*arguments)
    line = str(caught.value)
    assert words in line and "\n" not in line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("config.training.epochs = (", "mine.py:4: SyntaxError"),
        ("config.training.epochs = 1 / 0", "mine.py:4: ZeroDivisionError"),
        ("config.modl.name = 'x'", 'mine.py:4: AttributeError: .*Did you mean "model"'),
        ("config.training.epochs = 'ten'", "mine.py:4: TypeError: .*'epochs'"),
        ("import nowhere", "mine.py:4: ModuleNotFoundError"),
        ("config = None", "returns a NoneType"),
    ],
)
def test_mistakes_in_the_config_file_are_placed(tmp_path: pathlib.Path, line: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse(write_config(tmp_path, line))
    assert "\n" not in str(caught.value)


def test_a_config_file_without_get_config(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1")
    with pytest.raises(UserError, match=r"mine.py: it defines no get_config\(\)"):
        parse(f"--config={tmp_path}/mine.py")


def test_main_prints_one_line_and_exits_with_two(
    main: types.ModuleType, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = f"--workdir={tmp_path}/w"
    for wrong in ("--config.nam=x", "--config.training.metric=acu", f"--config.data.path={tmp_path}/nope"):
        assert main.main(["main.py", DEMO, workdir, "--config.grid.seed=()", "--config.grid.attention=()", wrong]) == 2
        out, err = capsys.readouterr()
        assert err.startswith("error: ") and err.count("\n") == 1
        assert not out
    assert not (tmp_path / "w").exists()


def test_a_working_directory_that_cannot_be(
    main: types.ModuleType, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    grid = ["--config.grid.seed=()", "--config.grid.attention=()"]
    assert main.main(["main.py", DEMO, *grid, f"--workdir={tmp_path}/file"]) == 2
    assert f"--workdir={tmp_path}/file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("event", "code"), [(UserError("a\nb"), 2), (Stopped(42), 42), (Stopped(130), 130), (KeyboardInterrupt(), 130)]
)
def test_how_a_run_ends_decides_the_exit_code(event: BaseException, code: int) -> None:
    with command_line.errors_in_one_line() as outcome:
        raise event
    assert outcome.code == code


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), command_line.errors_in_one_line():
        raise ZeroDivisionError


def test_help(main: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["main.py", "--help"]) == 0
    assert "--workdir" in capsys.readouterr().out


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_a_mistyped_field_is_said_before_jax_is_imported() -> None:
    code = "import sys, main; code = main.main(sys.argv); assert 'jax' not in sys.modules; sys.exit(code)"
    done = python(code, DEMO, "--config.modl.name=x")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1


def test_list_runs_nothing_and_wakes_no_device(tmp_path: pathlib.Path) -> None:
    code = (
        "import sys, main; code = main.main(sys.argv); from jax._src import xla_bridge;"
        "assert not xla_bridge.backends_are_initialized(); assert not {'tensorflow', 'torch'} & set(sys.modules);"
        "sys.exit(code)"
    )
    tiny = ["--config.data.image_size=16", "--config.data.phantom.images=40", "--config.grid.attention=none,se"]
    done = python(code, DEMO, "--list", f"--workdir={tmp_path}", *tiny)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("SIMULATED")
    assert [line.split()[0] for line in lines[1:5]] == [
        f"phantom_radiograph-{attention}-seed{seed}" for seed in (0, 1) for attention in ("none", "se")
    ]
    assert all(line.endswith("to do") for line in lines[1:5])
    assert lines[5].startswith("4 cells, 0 done, 4 left")
    assert not (tmp_path / "cells").exists()


@pytest.mark.parametrize(
    ("version", "before", "added"),
    [
        ("0.10.2", "", True),
        ("0.10.2", "--xla_cpu_max_isa=AVX2", True),
        ("0.10.2", "--xla_cpu_experimental_ynn_fusion_type=", False),
        ("0.12.0", "", False),
    ],
)
def test_convolutions_are_left_to_eigen_where_that_was_measured(version, before, added, monkeypatch):
    monkeypatch.setattr(command_line.importlib.metadata, "version", lambda name: version)
    monkeypatch.setenv("XLA_FLAGS", before)
    for _ in range(2):
        command_line.leave_convolutions_to_eigen()
        assert (
            os.environ["XLA_FLAGS"] == " ".join([before, command_line.WITHOUT_YNNPACK] if added else [before]).strip()
        )


@pytest.mark.skipif(not importlib.metadata.version("jaxlib").startswith("0.10."), reason="not asked of this version")
def test_xla_knows_the_flag():
    flags = {"XLA_FLAGS": command_line.WITHOUT_YNNPACK, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=os.environ | flags, check=True)


KEPT = f"glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={1 << 62}:glibc.malloc.arena_max=1"


@pytest.mark.parametrize(
    ("mode", "cores", "before", "added"),
    [
        ("always [madvise] never", 64, "", "glibc.malloc.hugetlb=1"),
        ("always [madvise] never", 64, "glibc.malloc.check=1", "glibc.malloc.hugetlb=1"),
        ("always [madvise] never", 64, "glibc.malloc.hugetlb=0", ""),
        ("[always] madvise never", 64, "", ""),
        ("always madvise [never]", 64, "", ""),
        ("always [madvise] never", 2, "", f"glibc.malloc.hugetlb=1:{KEPT}"),
        ("[always] madvise never", 2, "glibc.malloc.mmap_max=9", KEPT.partition(":")[2]),
    ],
)
def test_the_allocator_is_told_once_what_it_was_not_told(mode, cores, before, added, monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(command_line.os, "execv", lambda program, arguments: started.append(arguments))
    monkeypatch.setattr(command_line.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(command_line.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(command_line, "HUGE_PAGES", tmp_path / "enabled")
    (tmp_path / "enabled").write_text(mode)
    monkeypatch.setenv("GLIBC_TUNABLES", before)
    command_line.keep_memory()
    assert started == ([[sys.executable, *sys.orig_argv[1:]]] if added else [])
    assert os.environ["GLIBC_TUNABLES"] == ":".join(filter(None, (before, added)))
    command_line.keep_memory()
    assert len(started) == bool(added)
