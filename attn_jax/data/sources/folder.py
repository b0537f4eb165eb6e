"""Class folders, directly below the root or inside train, val and test folders; masks in a `masks/` folder beside."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from attn_jax.data import masks
from attn_jax.data.records import Dataset, Skipped
from attn_jax.data.sources.listing import SPLITS, Entry, Listing, group_of, group_pattern, image_dataset, natural
from attn_jax.errors import UserError

_COMPANIONS = frozenset(
    ".csv .db .doc .docx .htm .html .ini .ipynb .json .log .md .pdf .py .tsv .txt .xls .xlsx .xml .yaml .zip".split()
)
_LITTER = frozenset(("thumbs.db", "desktop.ini", "dicomdir", "readme", "license", "__macosx"))


def load(options: Mapping[str, Any]) -> Dataset:
    """The images in the class folders of `data.path`."""
    return image_dataset(options, listing(options))


def listing(options: Mapping[str, Any]) -> Listing:
    """The files in the class folders of `data.path`, in natural order, with class, split, group and mask.

    Raises:
      UserError: there are no class folders, or only one, or one of them is empty or holds a single image.
    """
    root = _unwrap(Path(options["path"]))
    splits, skipped = _split_folders(root)
    sides = {folder: SPLITS[folder.name.lower()] for folder in splits} if len(splits) > 1 else {}
    if len(splits) == 1 and SPLITS[splits[0].name.lower()] == "test":
        sides = {splits[0]: "test"}  # another hospital's test set; a train folder alone is split by us
    labelled: dict[str, tuple[str, Any]] = {}
    for parent in splits or [root]:
        classes, copies = _class_folders(parent, root)
        skipped += copies
        for folder in classes:
            inside = _files_below(folder)
            if not inside:
                raise UserError(f"data.path: class folder {folder} holds no image; fill or delete it")
            labelled |= {file.relative_to(root).as_posix(): (folder.name, sides.get(parent)) for file in inside}
    mask_ids = masks.beside(list(labelled))
    image_ids = sorted((image for image in labelled if image not in mask_ids), key=natural)
    mask_ids |= {file.relative_to(root).as_posix() for file in _mask_files(root, splits)}
    mask_of, orphans = masks.match(image_ids, sorted(mask_ids, key=natural))
    names = _classes(root, [labelled[image] for image in image_ids])
    pattern = group_pattern(options)
    entries = []
    for image in image_ids:
        name, split = labelled[image]
        mask = root / mask_of[image] if image in mask_of else None
        entries.append(Entry(root / image, image, names.index(name), group_of(pattern, image), split, mask))
    return Listing(names, tuple(entries), skipped=(*skipped, *orphans))


def _folders(parent: Path) -> list[Path]:
    visible = (f for f in parent.iterdir() if f.is_dir() and not _is_litter(f.name))
    return sorted(visible, key=lambda folder: natural(folder.name))


def _is_image_folder(folder: Path) -> bool:
    return folder.name.lower() not in masks.FOLDERS


def _unwrap(root: Path) -> Path:
    """Goes into folders that hold nothing but one folder, as archives often unpack to."""
    if not root.is_dir():
        raise UserError(f"data.path={str(root)!r} is a file; data.source='folder' reads a folder of class folders")
    inner = _folders(root)
    while len(inner) == 1 and len(_folders(inner[0])) > 1 and inner[0].name.lower() not in SPLITS:
        root, inner = inner[0], _folders(inner[0])
    return root


def _split_folders(root: Path) -> tuple[list[Path], list[Skipped]]:
    """Folders named as a split, when at least two are or nothing else is there; other folders beside are reported."""
    inner = [folder for folder in _folders(root) if _is_image_folder(folder)]
    splits = [folder for folder in inner if folder.name.lower() in SPLITS and _folders(folder)]
    if len(splits) < 2 and splits != inner:
        return [], []
    others = [folder for folder in inner if folder not in splits]
    return splits, [Skipped(folder.name, "a folder beside the train and test folders") for folder in others]


def _class_folders(parent: Path, root: Path) -> tuple[list[Path], list[Skipped]]:
    """The folders below `parent` that are classes; one that holds the same classes again is reported as a copy."""
    inner = [folder for folder in _folders(parent) if _is_image_folder(folder)]
    names = {folder.name for folder in inner}
    copies = [folder for folder in inner if len(names & {below.name for below in _folders(folder)}) > 1]
    classes = [folder for folder in inner if folder not in copies]
    if len(classes) < 2:
        found = f"only {classes[0].name!r}" if classes else "none"
        raise UserError(
            f"data.path: {parent} must hold two or more class folders, and holds {found}; put the images of each class "
            "into a folder of its own, or name the labels in a file with data.source='table'"
        )
    return classes, [Skipped(f.relative_to(root).as_posix(), "a second copy of the class folders") for f in copies]


def _files_below(folder: Path) -> list[Path]:
    """Every file under a folder that may be an image, whatever its extension; masks and litter are left out."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f.lower() not in (*_LITTER, *masks.FOLDERS)]
        found += [Path(where, name) for name in names if not _is_litter(name)]
    return found


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER or PurePosixPath(name).suffix.lower() in _COMPANIONS


def _mask_files(root: Path, splits: list[Path]) -> list[Path]:
    found = []
    for where, folders, _ in os.walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".") and folder.lower() not in _LITTER]
        if splits and Path(where) == root:
            kept = {folder.name for folder in splits}
            folders[:] = [folder for folder in folders if folder in kept or folder.lower() in masks.FOLDERS]
        for folder in [folder for folder in folders if folder.lower() in masks.FOLDERS]:
            found += _files_below(Path(where, folder))
            folders.remove(folder)
    return found


def _classes(root: Path, labels: list[tuple[str, Any]]) -> tuple[str, ...]:
    """The classes in natural order, once every one is known to have two images and a place in training."""
    counts = Counter(name for name, _ in labels)
    for name, count in counts.items():
        if count == 1:
            raise UserError(f"data.path: class {name!r} in {root} has one image; it needs two, to train and to test on")
    trained = {name for name, split in labels if split == "train"}
    if trained and trained != set(counts):
        missing = min(set(counts) - trained)
        raise UserError(f"data.path: class {missing!r} in {root} is not in its train folder; name the classes alike")
    return tuple(sorted(counts, key=natural))
