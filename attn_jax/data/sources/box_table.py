"""A table of boxes around findings, one a row, as those of NIH ChestX-ray14, RSNA and VinDr-CXR are."""

import math
from pathlib import Path
from typing import Any

from attn_jax.data.boxes import Boxes
from attn_jax.data.sources.find_files import Finder
from attn_jax.data.sources.read_table import read
from attn_jax.errors import UserError

_IMAGE = "image_index patientid image_id image path file filename file_name image_path image_name".split()
_CORNERS = ("x_min y_min x_max y_max", "xmin ymin xmax ymax", "x0 y0 x1 y1", "x1 y1 x2 y2")
_SIZES = ("x y width height", "x y w h", "bbox_[x y w h]")


def boxes_of(file: Path, finder: Finder) -> dict[Path, Boxes]:
    """The boxes of each image that `finder` finds, whatever finding they are about, in pixels of the image.

    Columns are an image and either left, top, width and height (`x`, `y`, `width`, `height`) or two corners (`x_min`,
    `y_min`, `x_max`, `y_max`; also 0 and 1, or 1 and 2). A row without numbers is an image without a box.

    Raises:
        UserError: a column is missing, a row has some of its numbers only, or its box ends before it begins.
    """
    frame = read(file)
    names = {column.lower().replace(" ", "_"): column for column in frame}
    image = next((names[name] for name in _IMAGE if name in names), None)
    place = next((place for place in (*_CORNERS, *_SIZES) if set(place.split()) <= names.keys()), None)
    if image is None or place is None:
        missing = "image" if image is None else "box (x, y, width, height; or x_min, y_min, x_max, y_max)"
        raise UserError(f"{file.name} has no column for the {missing}. Columns: {', '.join(frame.columns[:20])}")
    found: dict[Path, Boxes] = {}
    columns = [names[name] for name in place.split()]
    for at, row in enumerate(frame.to_dict("records"), start=2):
        written = [row[column] for column in columns]
        path = finder.find(row[image])
        if any(written) and path is not None:
            found[path] = (*found.get(path, ()), _box(written, place in _SIZES, f"{file.name}, row {at}"))
    return found


def _box(written: list[Any], sized: bool, where: str) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = map(float, written)
    except ValueError:
        raise UserError(f"{where}: {', '.join(map(repr, written))} is no box; four numbers are needed") from None
    if sized:
        x1, y1 = x0 + x1, y0 + y1
    if not (x0 < x1 and y0 < y1 and all(map(math.isfinite, (x0, y0, x1, y1)))):
        raise UserError(f"{where}: the box ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) ends before it begins")
    return x0, y0, x1, y1
