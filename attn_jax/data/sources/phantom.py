"""Simulated images as a data set: official splits by patient, masks of what was planted, and who carries a tag."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from attn_jax.data import phantom
from attn_jax.data.records import Dataset, Record

CLASSES = {
    "radiograph": ("clear", "opacity"),
    "dermoscopy": ("benign", "malignant"),
    "mr": ("healthy", "tumour"),
    "ct": ("clear", "ground_glass"),
}


def load(options: Mapping[str, Any]) -> Dataset:
    """Lists the simulated images that `data.phantom` describes; each is drawn when it is read.

    Every record has its patient as group, a split of the phantom's own, and the columns `sex`, `site` and `tag`
    ("yes" or "no"; where the tag lies, `attn_jax.data.phantom.tag_mask` says). Records with the finding have a mask.

    Raises:
      UserError: a dial in `data.phantom` is out of range.
    """
    settings = phantom.Settings.from_options(options)
    records = tuple(_record(settings, phantom.case(settings, index)) for index in range(settings.images))
    name = options["name"] or f"phantom_{settings.modality}"
    return Dataset(name=name, classes=CLASSES[settings.modality], kind="single", records=records, simulated=True)


def _record(settings: phantom.Settings, case: phantom.Case) -> Record:
    return Record(
        image_id=f"{settings.modality}/{case.index:06d}",
        label=int(case.positive),
        read=functools.partial(_image, settings, case),
        group=f"patient{case.patient:06d}",
        split=case.split,
        read_mask=functools.partial(_mask, settings, case) if case.positive else None,
        columns={"sex": case.sex, "site": case.site, "tag": "yes" if case.tag else "no"},
    )


def _image(settings: phantom.Settings, case: phantom.Case) -> np.ndarray:
    return phantom.simulate(settings, case)[0]


def _mask(settings: phantom.Settings, case: phantom.Case) -> np.ndarray:
    mask = phantom.simulate(settings, case)[1]
    assert mask is not None  # asked of positive cases only
    return mask
