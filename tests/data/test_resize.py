import numpy as np
import pytest

from attn_jax.data.resize import fit_image, fit_mask


def test_shrinking_averages_areas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    expected = image.reshape(12, 2, 12, 3, 3).mean((1, 3))
    assert np.abs(fit_image(image, 12, 3) - expected).max() <= 0.51


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((128, 128), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit_image(stripes, 32, 1).astype(float) - 127.5).max() <= 0.51


@pytest.mark.parametrize("shape", [(5, 9), (40, 9), (9, 40), (16, 40), (1, 1), (300, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_shape_keeps_a_constant(shape: tuple[int, int], dtype: type) -> None:
    fitted = fit_image(np.full(shape, 77, dtype), 16, 3)
    assert fitted.shape == (16, 16, 3) and fitted.dtype == dtype and (fitted == 77).all()


def test_volume_is_resized_along_each_axis() -> None:
    ramp = np.arange(8)[:, None, None] * 20 + np.arange(4)[None, :, None] * 8 + np.arange(12)[None, None, :]
    fitted = fit_image(ramp.astype(np.uint8), 4, 1, space=3)[..., 0]
    expected = ramp.reshape(4, 2, 4, 4, 3).mean((1, 4))
    assert np.abs(fitted - expected).max() <= 1.01  # rounded to uint8 twice


def test_float_becomes_uint16() -> None:
    fitted = fit_image(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4), 4, 1)
    assert fitted.dtype == np.uint16 and fitted.min() == 0 and fitted.max() == 65535


def test_colour_becomes_luminance_and_grey_is_repeated() -> None:
    assert fit_image(np.full((4, 4, 3), (255, 0, 0), np.uint8), 4, 1)[0, 0] == 76  # 0.299 * 255
    colour = fit_image(np.arange(16, dtype=np.uint8).reshape(4, 4, 1), 4, 3)
    assert (colour == colour[..., :1]).all()


def test_mask_keeps_area_and_never_vanishes() -> None:
    y, x = np.mgrid[:128, :128]
    disc = np.hypot(y - 60, x - 70) < 30
    assert abs(fit_mask(disc, 32).mean() - disc.mean()) < 0.01
    speck = np.zeros((200, 100), bool)
    speck[150, 20] = True
    fitted = fit_mask(speck, 16)
    assert fitted.sum() == 1 and fitted[150 * 16 // 200, 20 * 16 // 100] == 1
    assert fit_mask(np.zeros((9, 9, 9), bool), 4).sum() == 0
