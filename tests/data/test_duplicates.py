import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage

from attn_jax.data import duplicates


def _smooth(random: np.random.Generator, sigma: float, side: int = 128) -> np.ndarray:
    field = scipy.ndimage.gaussian_filter(random.normal(size=(side, side)), sigma)
    field = (field - field.min()) / np.ptp(field)
    return np.repeat((20 + 200 * field).astype(np.uint8)[..., None], 3, axis=-1)


def _reencoded(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def _resized(image: np.ndarray) -> np.ndarray:
    half = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    return cv2.resize(half, (128, 128), interpolation=cv2.INTER_LINEAR)


def _brightened(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 1.08 + 8, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray]:
    """Images in random order, and which original each is a copy of."""
    random = np.random.default_rng(1)
    originals = [_smooth(random, sigma) for sigma in (2, 4, 8, 16) for _ in range(30)]
    images, origin = [], []
    for at, image in enumerate(originals):
        copies = [image, image, _reencoded(image), _resized(image), _brightened(image), _reencoded(_resized(image))]
        for copy in copies[: random.integers(1, 7)]:
            images.append(copy)
            origin.append(at)
        if at % 3 == 0:  # a mirror image is another image
            images.append(image[:, ::-1])
            origin.append(1000 + at)
    order = random.permutation(len(images))
    return np.stack(images)[order], np.array(origin)[order]


def _same(ids: np.ndarray) -> np.ndarray:
    return ids[:, None] == ids[None]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_planted_duplicate_and_nothing_else_is_found(planted: tuple[np.ndarray, np.ndarray], dtype: type) -> None:
    images, origin = planted
    found = duplicates.clusters(images if dtype == np.uint8 else images.astype(np.uint16) * 257)
    np.testing.assert_array_equal(_same(found), _same(origin))


def test_search_in_blocks_misses_no_pair(
    planted: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, origin = planted
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    np.testing.assert_array_equal(_same(duplicates.clusters(images)), _same(origin))


def test_numbers_follow_first_appearance() -> None:
    random = np.random.default_rng(0)
    a, b = _smooth(random, 4), _smooth(random, 4)
    assert duplicates.clusters(np.stack([a, b, a, b, a])).tolist() == [0, 1, 0, 1, 0]
    assert duplicates.clusters(np.zeros((0, 8, 8, 1), np.uint8)).shape == (0,)


def test_blank_images_are_no_duplicates() -> None:
    nearly = np.random.default_rng(0).integers(100, 102, (20, 64, 64, 1), dtype=np.uint8)
    images = np.concatenate([np.zeros((20, 64, 64, 1), np.uint8), nearly])
    assert len(set(duplicates.clusters(images))) == 40


def test_volumes() -> None:
    volumes = np.random.default_rng(0).integers(0, 256, (6, 10, 24, 20, 1), dtype=np.uint8)
    brighter = np.clip(volumes * 1.05, 0, 255).astype(np.uint8)
    assert duplicates.clusters(np.concatenate([volumes, brighter])).tolist() == [*range(6)] * 2


def _small(files: list[Path]) -> np.ndarray:
    return np.stack([cv2.resize(cv2.imread(str(file)), (128, 128), interpolation=cv2.INTER_AREA) for file in files])


@pytest.mark.realdata
def test_chest_radiographs_do_not_chain(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _small(sorted((real_data / "chest_xray").glob("*/*")))
    assert np.bincount(duplicates.clusters(images)).max() <= 3
    monkeypatch.setattr(duplicates, "MIN_CORRELATION", -1.0)
    assert np.bincount(duplicates.clusters(images)).max() > 300  # what the hash alone does


@pytest.mark.realdata
def test_brain_mri_has_known_duplicates(real_data: Path) -> None:
    files = sorted([*(real_data / "brain_mri").glob("yes/*"), *(real_data / "brain_mri").glob("no/*")])
    found = duplicates.clusters(_small(files))
    cluster = {file.stem: number for file, number in zip(files, found, strict=True)}
    assert cluster["Y31"] == cluster["Y62"]
    content: dict[str, int] = {}
    for file, number in zip(files, found, strict=True):
        assert content.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), number) == number
    assert len(content) < len(files)
    assert np.bincount(found).max() <= 6
