"""What every test shares: eight CPU devices, a persistent compile cache, and where the real images lie."""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
# Level 0 compiles several times as fast, and small tests run no slower.
XLA_FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAGS}".strip()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path.home() / ".cache" / "attn_jax" / "tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest  # noqa: E402

DEFAULT_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real images (`ATTN_JAX_DATA`, else `../shared/data`); the test is skipped where there is none."""
    folder = pathlib.Path(os.environ.get("ATTN_JAX_DATA", DEFAULT_DATA))
    if not folder.is_dir():
        pytest.skip(f"no real images in {folder}; set ATTN_JAX_DATA")
    return folder
