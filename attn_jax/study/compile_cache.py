"""JAX's persistent compilation cache, kept free of damaged entries.

JAX does not write entries atomically: one cut short by a kill warns and recompiles at every later run, since an entry
that exists is never written again. Entries not seen before are checked and deleted where they are damaged.
"""

import json
import os
import pathlib
import zlib

import jax

from attn_jax import progress


def enable() -> pathlib.Path:
    """Turns the cache on in `JAX_COMPILATION_CACHE_DIR`, else `~/.cache/attn_jax/xla`, and mends it."""
    default = pathlib.Path.home() / ".cache" / "attn_jax" / "xla"
    folder = pathlib.Path(jax.config.jax_compilation_cache_dir or default)
    folder.mkdir(parents=True, exist_ok=True)
    for path in mend(folder):
        progress.message(f"compile cache: {path.name} was damaged and is deleted; it will be compiled again.")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def mend(folder: pathlib.Path) -> list[pathlib.Path]:
    """Deletes the damaged entries of a cache and returns them; an entry is read once, until it changes."""
    index_path = folder / "checked.json"
    try:
        checked = json.loads(index_path.read_text())
    except (FileNotFoundError, ValueError):
        checked = {}
    seen, damaged = {}, []
    for path in sorted(folder.glob("*-cache")):
        try:
            facts = path.stat()
            stamp = [facts.st_size, facts.st_mtime_ns]
            if checked.get(path.name) != stamp and not _whole(path.read_bytes()):
                path.unlink()
                damaged.append(path)
                continue
        except FileNotFoundError:
            continue  # another process deleted it
        seen[path.name] = stamp
    if seen != checked:
        partial = folder / f"checked.{os.getpid()}.partial"
        partial.write_text(json.dumps(seen))
        os.replace(partial, index_path)
    return damaged


def _whole(entry: bytes) -> bool:
    """Whether an entry decompresses to its end; JAX uses zstandard where that is installed, else zlib."""
    if entry.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            import zstandard
        except ImportError:
            return True  # this JAX does not read it either
        try:
            return bool(zstandard.ZstdDecompressor().decompress(entry))
        except zstandard.ZstdError:
            return False
    try:
        return bool(zlib.decompress(entry))
    except zlib.error:
        return False
