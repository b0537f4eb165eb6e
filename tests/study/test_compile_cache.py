"""A damaged entry of the compile cache is found once and deleted."""

import os
import pathlib
import zlib

from attn_jax.study.compile_cache import mend


def entry(folder: pathlib.Path, name: str, data: bytes) -> pathlib.Path:
    path = folder / f"{name}-cache"
    path.write_bytes(data)
    return path


def test_truncated_and_flipped_entries_are_deleted(tmp_path: pathlib.Path) -> None:
    whole = zlib.compress(os.urandom(4096))
    good = entry(tmp_path, "good", whole)
    short = entry(tmp_path, "short", whole[:-7])
    flipped = entry(tmp_path, "flipped", whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    empty = entry(tmp_path, "empty", b"")
    assert set(mend(tmp_path)) == {short, flipped, empty}
    assert good.exists() and not short.exists()
    assert mend(tmp_path) == []


def test_an_entry_that_was_good_is_checked_again_when_it_changes(tmp_path: pathlib.Path) -> None:
    whole = zlib.compress(os.urandom(4096))
    path = entry(tmp_path, "a", whole)
    assert mend(tmp_path) == []
    path.write_bytes(whole[:50])
    assert mend(tmp_path) == [path]
