"""The study as one page: `write` makes `report.html` and its tables and figures from `Contents`."""

from attn_jax.report.contents import Contents, DatasetSummary, GalleryItem, GalleryMap
from attn_jax.report.page import write

__all__ = ["Contents", "DatasetSummary", "GalleryItem", "GalleryMap", "write"]
