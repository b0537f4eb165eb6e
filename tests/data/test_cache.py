import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attn_jax.data import cache
from attn_jax.data.cache import ArrayFile, Content


def _content(folder: Path, masks: bool = False) -> Content:
    """A small entry whose images lie in `folder`, as the caller of `save_records` must see to."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    if masks:
        np.save(folder / "masks.npy", images[..., 0] // 128)
    return Content(
        facts={"classes": ["a", "b"], "kind": "single", "columns": {"sex": list("mfmfmf")}},
        image_ids=np.array([f"é/{at}.png" for at in range(6)]),
        labels=np.arange(6, dtype=np.int32) % 2,
        groups=None,
        official=np.array([""] * 6),
        images=images,
        masks=images[..., 0] // 128 if masks else None,
        has_mask=np.full(6, masks),
        clusters=np.arange(6),
        sizes=np.full((6, 2), 8),
        moments=random.random((6, 2, 3)),
    )


def _publish(folder: Path, **options: Any) -> Content:
    with cache.publish(folder) as draft:
        content = _content(draft, **options)
        cache.save_records(draft, content)
    return content


@pytest.mark.parametrize("mode", ["auto", "memory", "disk"])
@pytest.mark.parametrize("masks", [False, True])
def test_what_is_published_is_loaded(tmp_path: Path, mode: str, masks: bool) -> None:
    content = _publish(tmp_path / "entry", masks=masks)
    loaded = cache.load(tmp_path / "entry", mode)
    assert loaded is not None and len(loaded.digest) == 64
    for field in dataclasses.fields(Content):
        if field.name != "digest":
            np.testing.assert_equal(getattr(loaded, field.name), getattr(content, field.name))
    assert isinstance(loaded.images, np.memmap) == (mode == "disk") and not loaded.images.flags.writeable
    assert os.listdir(tmp_path) == ["entry"]


def test_damage_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "entry"
    assert cache.load(folder, "auto") is None and capsys.readouterr().err == ""
    _publish(folder, masks=True)
    for name in ("images.npy", "masks.npy", "records.npz"):
        file = folder / name
        sound = file.read_bytes()
        flipped = bytearray(sound)
        flipped[len(sound) * 2 // 3] ^= 1
        for damaged in (sound[:-7], sound[:20], b"", bytes(flipped)):
            file.write_bytes(damaged)
            assert cache.load(folder, "auto") is None, (name, len(damaged))
        file.unlink()
        assert cache.load(folder, "auto") is None and cache.load(folder, "disk") is None
        file.write_bytes(sound)
    assert "damaged" in capsys.readouterr().err
    assert cache.load(folder, "auto") is not None
    (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:-7])
    assert cache.load(folder, "disk") is None


def test_no_flipped_bit_goes_through(tmp_path: Path) -> None:
    content = _publish(tmp_path / "entry")
    file = tmp_path / "entry" / "records.npz"
    sound = file.read_bytes()
    for at in range(0, len(sound), 23):
        file.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << at % 8]) + sound[at + 1 :])
        loaded = cache._read(tmp_path / "entry", "auto")
        if loaded is not None:  # the bit means nothing, as those of a time stamp
            np.testing.assert_equal(loaded.facts, content.facts)
            np.testing.assert_equal(loaded.labels, content.labels)
            np.testing.assert_equal(loaded.clusters, content.clusters)


def test_publishing_replaces_a_damaged_entry_alone(tmp_path: Path) -> None:
    folder = tmp_path / "entry"
    _publish(folder)
    before = (folder / "records.npz").stat().st_ino
    _publish(folder)
    assert (folder / "records.npz").stat().st_ino == before
    (folder / "records.npz").write_bytes(b"")
    _publish(folder)
    assert cache.load(folder, "auto") is not None and os.listdir(tmp_path) == ["entry"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), cache.publish(tmp_path / "entry") as draft:
        (draft / "images.npy").write_bytes(b"half")
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_two_at_once_leave_one_sound_entry(tmp_path: Path) -> None:
    threads = [threading.Thread(target=_publish, args=(tmp_path / "entry",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.load(tmp_path / "entry", "auto") is not None and os.listdir(tmp_path) == ["entry"]


def test_digest_covers_content_alone(tmp_path: Path) -> None:
    content = _content(tmp_path, masks=True)
    base = cache._digest(content)
    assert base == cache._digest(dataclasses.replace(content, sizes=content.sizes + 1, clusters=content.clusters * 0))
    images, labels = content.images.copy(), content.labels.copy()
    images[5, 7, 7, 2] ^= 1
    labels[0] = 1
    changes = [
        {"images": images},
        {"images": content.images.astype(np.uint16)},
        {"labels": labels},
        {"masks": 1 - content.masks},
        {"groups": content.image_ids},
        {"official": np.array(["train"] * 6)},
        {"image_ids": content.image_ids[::-1]},
        {"facts": {**content.facts, "classes": ["a", "c"]}},
    ]
    digests = {cache._digest(dataclasses.replace(content, **change)) for change in changes}
    assert len(digests | {base}) == len(changes) + 1


def test_key_follows_options_and_files(tmp_path: Path) -> None:
    data, store = tmp_path / "data", tmp_path / "data" / "cache"
    store.mkdir(parents=True)
    (data / "a.png").write_bytes(b"1")
    options = {"source": "folder", "path": str(data), "image_size": 32, "cache": "auto", "split": {"seed": 0}}
    base = cache.key(options, store)
    (store / "entry").mkdir()
    (store / "entry" / "images.npy").write_bytes(b"1")
    assert base == cache.key({**options, "cache": "disk", "split": {"seed": 1}}, store)
    keys = {base, cache.key({**options, "image_size": 64}, store)}
    (data / "a.png").write_bytes(b"12")
    keys.add(cache.key(options, store))
    os.utime(data / "a.png", ns=(5, 5))
    keys.add(cache.key(options, store))
    (data / "b.png").write_bytes(b"1")
    keys.add(cache.key(options, store))
    assert len(keys) == 5
    (tmp_path / "boxes.csv").write_bytes(b"1")
    boxed = {**options, "table": {"file": "", "boxes": str(tmp_path / "boxes.csv")}}
    keys.add(cache.key(boxed, store))
    (tmp_path / "boxes.csv").write_bytes(b"12")
    keys.add(cache.key(boxed, store))
    assert len(keys) == 7


def test_array_file_widens_to_16_bit(tmp_path: Path) -> None:
    rows = [np.full((3, 2), 255, np.uint8), np.full((3, 2), 77, np.uint16), np.full((3, 2), 2, np.uint8)]
    with ArrayFile(tmp_path / "a.npy") as file:
        for row in rows * 60:
            file.append(row)
    expected = np.array([65535, 77, 514] * 60, np.uint16)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.broadcast_to(expected[:, None, None], (180, 3, 2)))
