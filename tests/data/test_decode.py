"""Files in every state, made here: the truth is the array each was made from."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from attn_jax.data import decode
from attn_jax.data.records import BadImage

SQUARES = np.zeros((16, 24), np.uint8)
SQUARES[:8, :8], SQUARES[:8, 8:16], SQUARES[8:, 16:] = 200, 90, 255
COLORS = np.stack([SQUARES, 255 - SQUARES, np.roll(SQUARES, 8, axis=1)], axis=-1)


def encoded(image, format_name, **options):
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def from_array(pixels, format_name="PNG", **options):
    return encoded(Image.fromarray(pixels), format_name, **options)


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_grey_and_color_are_read_as_written(format_name):
    grey = decode.decode_image(from_array(SQUARES, format_name))
    np.testing.assert_array_equal(grey[..., 0], SQUARES)
    if format_name != "GIF":
        np.testing.assert_array_equal(decode.decode_image(from_array(COLORS, format_name)), COLORS)


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP", "JPEG2000"])
def test_lossy_formats_are_close(format_name):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    color = np.stack([ramp, ramp.T, 255 - ramp], axis=-1)
    options = {} if format_name == "JPEG2000" else {"quality": 95}
    read = decode.decode_image(from_array(color, format_name, **options))
    assert np.abs(read.astype(int) - color).mean() < 3


def test_palette_becomes_its_colors():
    image = Image.fromarray((SQUARES > 0).astype(np.uint8), "L").copy()
    image = image.convert("P")
    image.putpalette([10, 20, 30, 250, 0, 100])
    expected = np.where(SQUARES[..., None] > 0, [250, 0, 100], [10, 20, 30])
    np.testing.assert_array_equal(decode.decode_image(encoded(image, "PNG")), expected)
    transparent = decode.decode_image(encoded(image, "PNG", transparency=1))
    np.testing.assert_array_equal(transparent, np.where(SQUARES[..., None] > 0, 0, expected))


def test_alpha_is_laid_over_black():
    alpha = np.full(SQUARES.shape, 255, np.uint8)
    alpha[:, 12:] = 128
    expected = np.round(COLORS.astype(float) * alpha[..., None] / 255)
    read = decode.decode_image(from_array(np.dstack([COLORS, alpha])))
    np.testing.assert_array_equal(read, expected)
    grey = decode.decode_image(from_array(np.dstack([SQUARES, alpha])))
    np.testing.assert_array_equal(grey[..., 0], np.round(SQUARES.astype(float) * alpha / 255))
    assert grey.shape[-1] == 1


def test_one_bit_and_cmyk():
    ones = decode.decode_image(encoded(Image.fromarray(SQUARES > 100), "PNG"))
    np.testing.assert_array_equal(ones[..., 0], np.where(SQUARES > 100, 255, 0))
    flat = np.broadcast_to(np.array([0, 255, 255, 0], np.uint8), (32, 32, 4))  # full magenta and yellow: red
    red = decode.decode_image(encoded(Image.fromarray(flat, "CMYK"), "JPEG", quality=95))
    assert red.shape == (32, 32, 3)
    assert np.abs(red.reshape(-1, 3).mean(axis=0) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_sixteen_bits_stay(format_name):
    grey = (SQUARES.astype(np.uint16) << 8) + 7
    read = decode.decode_image(from_array(grey, format_name))
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read[..., 0], grey)
    color = (COLORS.astype(np.uint16) << 8) + 3
    extension = ".png" if format_name == "PNG" else ".tiff"
    read = decode.decode_image(cv2.imencode(extension, color[..., ::-1].copy())[1].tobytes())
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, color)


def test_wide_tiffs_need_a_known_range():
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(decode.decode_image(from_array(unit, "TIFF"))[..., 0], unit)
    with pytest.raises(BadImage, match="no known range"):
        decode.decode_image(from_array(unit * 4000 - 1000, "TIFF"))


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, lambda a: a.T),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).T),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_rotation_is_applied(tmp_path, orientation, shown):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("PNG", "TIFF", "JPEG"):
        (tmp_path / "a").write_bytes(from_array(np.kron(SQUARES, np.ones((2, 2), np.uint8)), name, exif=exif))
        read = decode.read_image(tmp_path / "a")[::2, ::2, 0]
        assert read.shape == shown(SQUARES).shape
        assert np.abs(read.astype(int) - shown(SQUARES)).max() <= (6 if name == "JPEG" else 0)
        assert decode.image_size(tmp_path / "a") == tuple(2 * side for side in read.shape)


def test_content_decides_not_the_extension(tmp_path):
    (tmp_path / "a.jpg").write_bytes(from_array(COLORS, "PNG"))
    np.testing.assert_array_equal(decode.read_image(tmp_path / "a.jpg"), COLORS)


def test_one_pixel():
    assert decode.decode_image(from_array(np.array([[7]], np.uint8)), size_hint=128).tolist() == [[[7]]]
    assert decode.decode_image(from_array(np.array([[7]], np.uint8), "JPEG"), size_hint=128).shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\0" * 5000, "only zeros"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"hello, this is text", "not an image of a known format"),
        (b"\0" * 128 + b"DICM" + b"\2\0", "DICOM"),
        (b"\x89PNG\r\n\x1a\n", "damaged PNG"),
        (b"\xff\xd8\xff\xe0", "damaged JPEG"),
    ],
)
def test_what_is_no_image_says_so_in_one_line(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadImage, match=reason) as caught:
        decode.read_image(tmp_path / "a.jpg")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_bad_image(tmp_path):
    with pytest.raises(BadImage, match="cannot be opened"):
        decode.read_image(tmp_path / "none.png")


@pytest.mark.parametrize("size_hint", [None, 64])
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_truncation_is_never_silent(format_name, kept, size_hint):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    content = from_array(noise, format_name)
    assert decode.decode_image(content, size_hint).shape[0] >= 64
    with pytest.raises(BadImage):
        decode.decode_image(content[: int(len(content) * kept)], size_hint)


def test_a_jpeg_cut_short_and_filled_with_zeros_is_not_silent():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    content = from_array(noise, "JPEG")
    assert decode.decode_image(content + b"trailing words").shape == (64, 64, 1)
    with pytest.raises(BadImage, match="cut off"):
        decode.decode_image(content[: len(content) // 2] + bytes(len(content) // 2))
    with pytest.raises(BadImage, match="cut off"):
        decode.decode_image(content[:-2])


def test_truncated_wide_color_is_not_silent():
    noise = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), dtype=np.uint16)
    content = cv2.imencode(".png", noise)[1].tobytes()
    with pytest.raises(BadImage):
        decode.decode_image(content[: len(content) // 2])


def test_a_size_hint_reduces_jpegs_but_not_below_it():
    rows, columns = np.mgrid[:400, :300]
    smooth = (128 + 60 * np.sin(rows / 40) + 60 * np.cos(columns / 50)).astype(np.uint8)
    content = from_array(smooth, "JPEG", quality=95)
    for hint, scale in ((300, 1), (151, 1), (150, 2), (75, 4), (38, 4), (37, 8), (5, 8)):
        read = decode.decode_image(content, hint)[..., 0]
        assert read.shape == (-(-400 // scale), -(-300 // scale))
        if scale == 4:  # 400 and 300 are multiples of it: the reduced image is the mean of its blocks
            means = smooth.reshape(100, 4, 75, 4).mean(axis=(1, 3))
            assert np.abs(read - means).mean() < 2
    assert decode.decode_image(from_array(smooth), 37).shape == (400, 300, 1)


def test_a_huge_jpeg_is_reduced_and_a_huge_png_refused(monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 10_000)
    smooth = np.full((200, 200), 90, np.uint8)
    assert decode.decode_image(from_array(smooth, "JPEG")).shape == (100, 100, 1)
    assert decode.decode_image(from_array(smooth, "JPEG"), 199).shape == (100, 100, 1)
    assert decode.decode_image(from_array(smooth, "JPEG"), 20).shape == (25, 25, 1)
    for content in (from_array(smooth), from_array(smooth, "JPEG", progressive=True)):
        with pytest.raises(BadImage, match="200 x 200 pixels"):
            decode.decode_image(content)


def test_20000_x_20000():
    side = 20_000
    content = from_array(np.full((side, side), 90, np.uint8), "JPEG", quality=30)
    read = decode.decode_image(content, 128)
    assert read.shape == (side // 8, side // 8, 1)
    assert abs(int(read[100, 100, 0]) - 90) <= 2
    with pytest.raises(BadImage, match="20000 x 20000"):
        decode.decode_image(_png_header(side, side))


def _png_header(width, height):
    """A PNG that claims a size and holds next to nothing, as a decompression bomb does."""
    chunks = b""
    for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))):
        chunks += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunks
