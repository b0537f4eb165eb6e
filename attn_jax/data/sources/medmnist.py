"""MedMNIST v2 and MedMNIST+ `.npz` files, 2-D and 3-D, every size: the file's name tells the set.

Reads the files themselves; the `medmnist` package would bring PyTorch.
"""

import functools
import re
import shutil
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attn_jax import progress
from attn_jax.data.records import Dataset, Kind, Label, Record, Split
from attn_jax.errors import UserError

_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip
CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "chestmnist": (
        "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
        "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
    ),
    "dermamnist": (
        "actinic keratoses", "basal cell carcinoma", "benign keratosis-like lesions", "dermatofibroma", "melanoma",
        "melanocytic nevi", "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte", "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "collecting duct, connecting tubule", "distal convoluted tubule", "glomerular endothelial cells",
        "interstitial endothelial cells", "leukocytes", "podocytes", "proximal tubule segments",
        "thick ascending limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "organmnist3d": (
        "liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right",
        "lung-left", "spleen", "pancreas",
    ),
    "nodulemnist3d": ("benign", "malignant"),
    "adrenalmnist3d": ("normal", "hyperplasia"),
    "fracturemnist3d": ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"),
    "vesselmnist3d": ("vessel", "aneurysm"),
    "synapsemnist3d": ("inhibitory synapse", "excitatory synapse"),
}  # fmt: skip
"""Set to its classes, in the order of the labels. Other sets get `class 0`, `class 1`, ..."""

_ORDINAL = ("retinamnist",)
_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_IN_MEMORY = 2 * 1024**3


def load(options: Mapping[str, Any]) -> Dataset:
    """The set in the file `data.path` (or the one `.npz` in that folder), with its official splits.

    A 3-D set gives volumes `[D, H, W, 1]` with `data.volume`, else every slice along the first axis, grouped by volume.

    Raises:
      UserError: the file is not a MedMNIST file.
    """
    file = _file(Path(options["path"]))
    name = re.sub(r"_\d+$", "", file.stem.lower())
    shapes, labels = _contents(file)
    columns = labels["train"].shape[1]
    classes = CLASSES.get(name) or _numbered(labels, columns)
    kind: Kind = "multilabel" if columns > 1 else "single"
    if kind == "single" and max(int(values.max()) for values in labels.values()) >= len(classes):
        raise UserError(f"{file}: labels go beyond the {len(classes)} classes of {name}")
    records: list[Record] = []
    for split in _SPLITS:
        images = _Images(file, f"{split}_images")
        volumes = len(shapes[split]) == 4 and shapes[split][-1] not in (1, 3)
        for row, values in enumerate(labels[split]):
            label: Label = tuple(map(float, values)) if kind == "multilabel" else int(values[0])
            where = f"{split}/{row:06d}"
            if volumes and not options["volume"]:
                for at in range(shapes[split][1]):
                    read = functools.partial(images.slice, row, at)
                    records.append(Record(f"{where}#{at:03d}", label, read, group=where, split=split))
            else:
                read = functools.partial(images.whole, row, volumes)
                records.append(Record(where, label, read, split=split))
    ordinal = bool(options["ordinal"]) or name in _ORDINAL
    return Dataset(options["name"] or name, classes, kind, tuple(records), ordinal=ordinal)


class _Images:
    """One array of the archive, unpacked at the first read: to memory, or to a temporary file when it is large."""

    def __init__(self, file: Path, key: str) -> None:
        self.file = file
        self.key = key
        self.lock = threading.Lock()
        self.array: np.ndarray | None = None

    def whole(self, row: int, volume: bool) -> np.ndarray:
        image = np.asarray(self._unpacked()[row])
        return image[..., None] if volume or image.ndim == 2 else image

    def slice(self, row: int, at: int) -> np.ndarray:
        return np.asarray(self._unpacked()[row, at])[..., None]

    def _unpacked(self) -> np.ndarray:
        with self.lock:
            if self.array is None:
                with progress.task(f"unpacking {self.key} of {self.file.name}"), zipfile.ZipFile(self.file) as archive:
                    member = f"{self.key}.npy"
                    if archive.getinfo(member).file_size > _IN_MEMORY:
                        folder = tempfile.mkdtemp(prefix="attn_jax-medmnist-")
                        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
                        self.array = np.load(archive.extract(member, folder), mmap_mode="r")
                    else:
                        with archive.open(member) as stream:
                            self.array = np.lib.format.read_array(stream)
            return self.array


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.npz"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "no .npz file"
        raise UserError(f"data.path={str(path)!r} holds {names}; name one MedMNIST file, such as pathmnist_64.npz")
    return found[0]


def _contents(file: Path) -> tuple[dict[Split, tuple[int, ...]], dict[Split, np.ndarray]]:
    """The shape of each split's images, from the header alone, and the labels as `[N, columns]`."""
    try:
        with zipfile.ZipFile(file) as archive:
            shapes = {split: _shape(archive, f"{split}_images.npy") for split in _SPLITS}
        with np.load(file) as arrays:
            labels = {split: arrays[f"{split}_labels"] for split in _SPLITS}
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        words = " ".join(str(error).split())[:150]
        raise UserError(f"{file} is not a MedMNIST file with train, val and test images and labels: {words}") from error
    labels = {split: values.reshape(len(values), -1).astype(np.int64) for split, values in labels.items()}
    for split in _SPLITS:
        if len(labels[split]) != shapes[split][0]:
            raise UserError(f"{file}: {shapes[split][0]} {split} images but {len(labels[split])} labels")
    return shapes, labels


def _shape(archive: zipfile.ZipFile, member: str) -> tuple[int, ...]:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read_header(stream)[0]


def _numbered(labels: Mapping[Split, np.ndarray], columns: int) -> tuple[str, ...]:
    count = columns if columns > 1 else 1 + max(int(values.max()) for values in labels.values())
    return tuple(f"class {at}" for at in range(count))
