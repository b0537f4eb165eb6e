"""The gallery's pictures: image, heat map and lesion outline burned into one small file each."""

import base64
import dataclasses
import functools
import io
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, UInt8

from attn_jax.report.contents import GalleryItem, GalleryMap

SIZE = 224
SMALLEST = 112
MOST_BYTES = 6_500_000
MOST_OPAQUE = 0.62


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture as a data URI, with what a screen reader says instead."""

    uri: str
    alternative: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One image: the picture itself, then one for each mechanism (None where it has no map of this image)."""

    item: GalleryItem
    plain: Picture
    maps: tuple[tuple[GalleryMap, Picture] | None, ...]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The rows of one data set, wrong predictions first; `left_out` rows would have made the page too heavy."""

    name: str
    titles: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: int
    simulated: bool

    @property
    def outlined(self) -> bool:
        """Whether any lesion's outline is known."""
        return any(row.item.mask is not None for row in self.rows)


def build(
    items: Iterable[GalleryItem], name: str, titles: Mapping[str, str], *, simulated: bool, budget: int = MOST_BYTES
) -> Gallery:
    """Draws the pictures, smaller ones where they are many; what is beyond `budget` bytes is left out and counted.

    Args:
        items: images and maps.
        name: of the block.
        titles: what each mechanism is called.
        simulated: whether the images are.
        budget: how heavy the pictures may be together, in bytes of base64.
    """
    ordered = sorted(items, key=lambda item: -sum(not column.correct for column in item.columns))
    attentions = tuple(dict.fromkeys(column.attention for item in ordered for column in item.columns))
    pictures = max(1, len(ordered) * (1 + len(attentions)))
    # Characters of base64 a pixel, measured on 24 pictures each: brain_mri 0.11, chest_xray 0.17, covid_ct 0.28.
    side = int(min(SIZE, max(SMALLEST, (budget / pictures / 0.28) ** 0.5)))
    rows: list[Row] = []
    spent = 0
    for item in ordered:
        row = _row(item, {name: titles[name] for name in attentions}, side, simulated)
        spent += len(row.plain.uri) + sum(len(entry[1].uri) for entry in row.maps if entry)
        if spent > budget and rows:
            break
        rows.append(row)
    return Gallery(name, tuple(titles[of] for of in attentions), tuple(rows), len(ordered) - len(rows), simulated)


def _row(item: GalleryItem, titles: Mapping[str, str], side: int, simulated: bool) -> Row:
    by_name = {column.attention: column for column in item.columns}
    image, mask = _prepared(item, side)
    known = "" if item.mask is None else ", lesion outlined"
    mark = "Simulated. " if simulated else ""
    words = f"{mark}Image {item.image_id}, label {item.label}{known}."
    plain = Picture(encode(_finished(image, mask, simulated)), words)
    maps: list[tuple[GalleryMap, Picture] | None] = []
    for name, title in titles.items():
        column = by_name.get(name)
        if column is None:
            maps.append(None)
            continue
        drawn = _finished(overlay(image, _resized(column.map, image.shape[:2])), mask, simulated)
        words = f"{mark}Grad-CAM of {title} on {item.image_id}: {_verdict(item, column)}."
        maps.append((column, Picture(encode(drawn), words)))
    return Row(item, plain, tuple(maps))


def _verdict(item: GalleryItem, column: GalleryMap) -> str:
    words = f"label {item.label}, predicted {column.predicted} ({column.score:.2f}), "
    words += "right" if column.correct else "wrong"
    if column.energy_in_mask is None:
        return words
    return f"{words}, {100 * column.energy_in_mask:.0f} % of the map's energy in the lesion"


def _prepared(item: GalleryItem, side: int) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"] | None]:
    from PIL import Image

    image = item.image if item.image.ndim == 3 else np.repeat(item.image[..., None], 3, axis=-1)
    height, width = image.shape[:2]
    scale = side / max(height, width)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    resized = np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC))
    mask = None if item.mask is None else _resized(item.mask.astype(np.float32), shape) > 0.5
    return resized, mask


def _resized(values: np.ndarray, shape: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    from PIL import Image

    drawn = Image.fromarray(np.asarray(values, np.float32)).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.clip(np.asarray(drawn), 0.0, 1.0)


def overlay(image: UInt8[np.ndarray, "H W 3"], heat: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """The map over the greyed image: the higher, the brighter and the less of the image shines through."""
    grey = np.repeat((image @ np.array([0.299, 0.587, 0.114]))[..., None], 3, axis=-1)
    alpha = MOST_OPAQUE * heat[..., None] ** 0.8
    return np.rint(grey * (1 - alpha) + 255.0 * colours()[np.rint(255 * heat).astype(int)] * alpha).astype(np.uint8)


@functools.cache
def colours() -> Float[np.ndarray, "256 3"]:
    """Inferno: even steps of lightness, read alike by colour-blind eyes."""
    from matplotlib import colormaps

    return colormaps["inferno"](np.arange(256))[:, :3]


def outline(mask: Bool[np.ndarray, "H W"], width: int) -> Bool[np.ndarray, "H W"]:
    """The pixels within `width` outside the mask."""
    grown = mask
    for _ in range(width):
        padded = np.pad(grown, 1)
        grown = grown | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return grown & ~mask


def _finished(image: np.ndarray, mask: np.ndarray | None, simulated: bool) -> np.ndarray:
    drawn = image.copy()
    if mask is not None:
        drawn[outline(mask, 3)] = (0, 0, 0)
        drawn[outline(mask, 2)] = (92, 230, 255)
    return watermark(drawn) if simulated else drawn


def watermark(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The word SIMULATED across the picture, light with a dark rim so that it is read on any ground."""
    stamp = _stamp(*image.shape[:2])
    light, rim = stamp[..., :1] / 255.0, stamp[..., 1:2] / 255.0
    drawn = image * (1 - 0.45 * rim)
    return np.rint(drawn * (1 - 0.5 * light) + 255.0 * 0.5 * light).astype(np.uint8)


@functools.lru_cache(maxsize=8)
def _stamp(height: int, width: int) -> UInt8[np.ndarray, "H W 2"]:
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans:bold"), max(8, round(0.145 * min(height, width))))
    layers = []
    for stroke in (0, max(1, height // 150)):
        sheet = Image.new("L", (width, height))
        middle = width / 2, height / 2
        ImageDraw.Draw(sheet).text(middle, "SIMULATED", fill=255, font=font, anchor="mm", stroke_width=stroke)
        layers.append(np.asarray(sheet.rotate(32, Image.Resampling.BICUBIC)))
    return np.stack(layers, axis=-1)


def encode(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """A JPEG as a data URI."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=82, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
