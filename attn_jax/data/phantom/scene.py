"""What a modality is given to draw one image."""

import dataclasses

import numpy as np

from attn_jax.data.phantom.canvas import Canvas
from attn_jax.data.phantom.lesions import Lesions


@dataclasses.dataclass(frozen=True)
class Scene:
    """One exposure of one patient.

    Attributes:
        canvas: the surface, already at this exposure's pose.
        anatomy: the patient's stream: every image of a patient draws the same numbers from it.
        acquisition: this image's stream (exposure, hairs, bias field); pixel noise comes last, as its length varies.
        lesions: what is planted, or None.
        sex: "F" or "M".
        site: "A" or "B"; B has the noisier machine.
    """

    canvas: Canvas
    anatomy: np.random.Generator
    acquisition: np.random.Generator
    lesions: Lesions | None
    sex: str
    site: str
