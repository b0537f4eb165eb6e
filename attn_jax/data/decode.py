"""Image files to arrays, whatever state the files are in: each loads right or says in one line why not.

Pillow decodes: OpenCV is 10 to 20 % faster on 512-px JPEGs (`benchmarks/decode.py`), but gives None without a reason
for what it cannot read, and knows nothing of transparent palettes. OpenCV serves 16-bit colour alone, which Pillow
would cut to 8 bits. The content decides the format, never the file's extension.
"""

import importlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from attn_jax.data.records import BadImage

MAX_PIXELS = 89_000_000
"""The most pixels one image may have in memory; JPEGs above it are decoded at a reduced scale, others refused.

Just below the size at which Pillow itself would warn of a decompression bomb.
"""

_PLUGINS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
}
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
)
_EXIF_ORIENTATION = 0x0112


def image_format(head: bytes) -> str | None:
    """The format's name, such as "PNG", told from the first bytes of a file; None when it is none we read."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)


def read_image(path: str | os.PathLike[str], size_hint: int | None = None) -> np.ndarray:
    """The image in a file as `[H, W, C]`, uint8 or uint16 (float32 in [0, 1] from a float TIFF), C 1 or 3.

    See `decode_image`, which does the work once the file is read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be opened: {error.strerror or error}") from error
    return decode_image(content, size_hint)


def decode_image(content: bytes, size_hint: int | None = None) -> np.ndarray:
    """The image in an encoded file's bytes as `[H, W, C]`, uint8 or uint16 (float32 from a float TIFF), C 1 or 3.

    EXIF rotation is applied, palettes and CMYK become RGB, and what is transparent is laid over black. 16-bit values
    are kept as they are.

    Args:
      content: the whole file.
      size_hint: JPEGs are decoded at 1/2, 1/4 or 1/8 scale where that leaves at least this many pixels on the shorter
        side.

    Raises:
      BadImage: the bytes are no image, not a whole one, or a larger one than `MAX_PIXELS`.
    """
    image = _open(content)
    if image.format == "JPEG" and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise BadImage("damaged JPEG file: it is cut off, for its last scan has no end")
    try:
        orientation = _orientation(image)
        _reduce(image, size_hint)
        image.load()
        wide = _is_wide_color(image, content)
        pixels = _wide_color(content) if wide else _pixels(image)
    except BadImage:
        raise
    except MemoryError as error:
        raise BadImage(f"{image.width} x {image.height} pixels do not fit in memory") from error
    except Exception as error:  # decoders raise anything on damaged input: OSError, SyntaxError, struct.error, ...
        raise BadImage(_one_line(image.format, error)) from error
    turned = image.format == "TIFF" and not wide  # Pillow does it for TIFF alone
    return np.ascontiguousarray(pixels if turned else _turn(pixels, orientation))


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of an image file after its EXIF rotation, from the header alone."""
    with open(path, "rb") as file:
        image = _open(file.read())
    # The size that Pillow tells of a TIFF has been turned in some versions, and in others not.
    width, height = (image.tag_v2[256], image.tag_v2[257]) if image.format == "TIFF" else image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)


def _open(content: bytes) -> Image.Image:
    if not content:
        raise BadImage("the file is empty (0 bytes)")
    name = image_format(content)
    if name is None:
        raise BadImage(_what_else(content))
    plugin, image_class = _PLUGINS[name]
    # Image.open would judge the whole picture's size before a JPEG can be reduced, by a limit global to the process.
    factory = getattr(importlib.import_module(f"PIL.{plugin}"), image_class)
    try:
        return factory(io.BytesIO(content))
    except Exception as error:
        raise BadImage(_one_line(name, error)) from error


def _what_else(content: bytes) -> str:
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page saved under an image's name, not an image"
    if content[128:132] == b"DICM":
        return "a DICOM file; set data.source='dicom'"
    if not any(content[:4096]):
        return "the file holds only zeros"
    return "not an image of a known format (JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000, PPM)"


def _one_line(name: str | None, error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return f"damaged {name or 'image'} file: {words[:150]}"


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # unreadable EXIF says nothing about the pixels
        return 1
    return orientation if orientation in range(1, 9) else 1


def _reduce(image: Image.Image, size_hint: int | None) -> None:
    width, height = image.size
    # A progressive JPEG keeps every coefficient in memory at full size, whatever the scale.
    reducible = image.format == "JPEG" and not image.info.get("progressive")
    least = next((s for s in (1, 2, 4, 8) if width * height // s**2 <= MAX_PIXELS and (s == 1 or reducible)), None)
    if least is None:
        limit = f"{MAX_PIXELS // 1_000_000} million"
        raise BadImage(f"{width} x {height} pixels are more than the {limit} that one image may have; save it smaller")
    if image.format == "JPEG":
        wanted = min(size_hint or max(width, height), width // least, height // least)
        image.draft(None, (max(wanted, 1), max(wanted, 1)))


def _pixels(image: Image.Image) -> np.ndarray:
    mode = image.mode
    if mode in ("L", "RGB"):
        pixels = np.asarray(image)
    elif mode == "1":
        pixels = np.asarray(image.convert("L"))
    elif mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16)
    elif mode in ("I", "F"):
        pixels = _known_range(np.asarray(image))
    elif mode == "LA" or "transparency" in image.info and mode == "L":
        pixels = _over_black(np.asarray(image.convert("LA")))
    elif mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        pixels = _over_black(np.asarray(image.convert("RGBA")))
    else:
        pixels = np.asarray(image.convert("RGB"))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _known_range(pixels: np.ndarray) -> np.ndarray:
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "i" and low >= 0 and high <= 65535:
        return pixels.astype(np.uint16)
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        return pixels.astype(np.float32)
    raise BadImage(f"32-bit pixels from {low:g} to {high:g} have no known range; save as 8 or 16 bits")


def _over_black(pixels: np.ndarray) -> np.ndarray:
    top = 65535 if pixels.dtype == np.uint16 else 255
    color, alpha = pixels[..., :-1], pixels[..., -1:]
    if (alpha == top).all():
        return color
    return ((color.astype(np.uint64) * alpha + top // 2) // top).astype(pixels.dtype)


def _is_wide_color(image: Image.Image, content: bytes) -> bool:
    if image.format == "PNG":
        bits, color_type = content[24], content[25]
        return bits == 16 and color_type != 0
    bits_per_sample = image.tag_v2.get(258, ()) if image.format == "TIFF" else ()
    return len(bits_per_sample) > 1 and max(bits_per_sample) == 16


def _wide_color(content: bytes) -> np.ndarray:
    import cv2

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint16:
        raise BadImage("16-bit colour that cannot be decoded; save it as PNG")
    if pixels.ndim == 2:
        return pixels[:, :, None]
    color = pixels[..., 2::-1]
    return color if pixels.shape[-1] == 3 else _over_black(np.concatenate([color, pixels[..., 3:]], axis=-1))


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes the EXIF orientation, whose numbers 5 to 8 also swap height and width."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
