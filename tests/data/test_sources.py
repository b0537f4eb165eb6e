"""What all sources share: the config they read, and that listing images imports nothing heavy."""

import subprocess
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import attn_jax.data
from attn_jax.data import sources


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    return tmp_path


def test_a_config_dict_is_read_like_a_dict(folder):
    (folder / "t.csv").write_text("path,label\na/1.png,x\na/2.png,y\nb/1.png,x\nb/2.png,y\n")
    config = ConfigDict({"source": "table", "path": str(folder), "name": "set", "table": {"file": "t.csv"}})
    dataset = attn_jax.data.load(config)
    assert dataset.name == "set" and [record.label for record in dataset.records] == [0, 1, 0, 1]


def test_every_source_names_a_module_with_load():
    for name, module in sources.SOURCES.items():
        assert callable(__import__(module, fromlist=["load"]).load), name


def test_listing_a_folder_imports_nothing_heavy(folder):
    program = (
        "import sys, attn_jax.data\n"
        "attn_jax.data.load({'source': 'folder', 'path': sys.argv[1]}).records[0].read()\n"
        "print(*{'tensorflow', 'tensorflow_datasets', 'pydicom', 'nibabel', 'jax', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "", done.stdout + done.stderr


def test_an_unknown_name_of_the_room_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = attn_jax.data.lod
