"""What others install and import: the wheel's files, what an import drags in, docstrings, the rooms' order."""

import ast
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "attn_jax"
# A room imports from later rows only; rooms of one row do not know each other.
ROOMS = (
    ("study",),
    ("report", "survey"),
    ("explain",),
    ("evaluation",),
    ("training",),
    ("tasks",),
    ("models",),
    ("attention",),
    ("layers",),
    ("data",),
    ("errors", "progress"),
)
RANK = {room: rank for rank, row in enumerate(ROOMS) for room in row}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: pathlib.Path) -> set[str]:
    """The rooms a file imports from, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("attn_jax.")]
    return {part[1] for part in parts} & set(RANK)


def test_rooms_import_in_one_direction() -> None:
    rooms = {path: room_of(path) for path in SOURCES}
    assert {room for room in rooms.values() if (PACKAGE / room).is_dir()} <= set(RANK)
    against = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, room in rooms.items()
        for other in imported_rooms(path) - {room}
        if RANK.get(room, -1) >= RANK[other]
    ]
    assert not against


def test_everything_public_is_documented() -> None:
    undocumented = []
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        holders = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")]
        for holder in holders:
            for node in holder.body:
                named = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
                if named and not ast.get_docstring(node):
                    undocumented.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not undocumented


def test_files_are_short_and_named_for_what_they_hold() -> None:
    assert not [path for path in SOURCES if path.stem in ("utils", "util", "helpers", "common", "misc")]
    assert not [path for path in SOURCES if len(path.read_text().splitlines()) > 450]


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        ("attn_jax.attention, attn_jax.models", "tensorflow tensorflow_datasets matplotlib pandas cv2 sklearn orbax"),
        ("attn_jax.study.defaults", "jax numpy pandas"),
    ],
)
def test_an_import_drags_in_no_more_than_it_needs(module: str, left_out: str) -> None:
    code = f"import sys, {module}; print(*(set({left_out.split()}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split()


@pytest.mark.full
def test_what_is_built_holds_what_it_should(tmp_path: pathlib.Path) -> None:
    """The wheel has the package alone, with its templates; the source distribution can be tested and cited."""
    source, out = tmp_path / "source", tmp_path / "out"
    kept_out = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=kept_out)
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (archive,) = out.glob("*.whl"), out.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as files:
        installed = {name for name in files.namelist() if ".dist-info/" not in name}
        metadata = [name for name in files.namelist() if ".dist-info/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in metadata)
    tracked = {path.relative_to(ROOT).as_posix() for path in SOURCES}
    templates = {p.relative_to(ROOT).as_posix() for p in (PACKAGE / "report" / "templates").iterdir()}
    assert len(templates) >= 3
    assert installed == tracked | templates | {"attn_jax/py.typed"}
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {"LICENSE", "CITATION.cff", "README.md", "main.py", "configs/demo.py", "tests/conftest.py"} <= names
