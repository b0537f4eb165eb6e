"""Tables of well-known data sets, recognised by their columns: NIH ChestX-ray14, CheXpert, RSNA, HAM10000, APTOS."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from attn_jax.errors import UserError

NIH_FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
CHEXPERT_FINDINGS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which column of a table says what; an empty name means that none does.

    Attributes:
      path: the image file, or its bare name with or without extension.
      label: the class; or, with a `separator`, the names of the findings present.
      findings: one column each, 1 present, 0 absent, -1 or blank unknown; or the findings that `label` may name.
      boxes: the file that comes with the table and has boxes around its findings.
      class_names: from the label's value to the name of the class, in the order of the classes; empty takes the values.
    """

    path: str
    label: str = ""
    findings: tuple[str, ...] = ()
    separator: str = ""
    class_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ordinal: bool = False
    group: str = ""
    split: str = ""
    mask: str = ""
    subgroups: tuple[str, ...] = ()
    boxes: str = ""


@dataclasses.dataclass(frozen=True)
class KnownTable:
    """A published table: the columns that give it away, what they mean, and what must be derived before."""

    needs: frozenset[str]
    columns: Columns
    derive: Callable[[pd.DataFrame, Path], pd.DataFrame] = lambda frame, root: frame


def _nih_split(frame: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Adds the official split where both of its lists lie in the root."""
    lists = {"test": root / "test_list.txt", "train": root / "train_val_list.txt"}
    if not all(file.is_file() for file in lists.values()):
        return frame
    side = {name: split for split, file in lists.items() for name in file.read_text().split()}
    return frame.assign(official_split=frame["Image Index"].map(side).fillna(""))


def _chexpert_patient(frame: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Adds the patient and the split, which CheXpert keeps in the path: `.../train/patient00001/study1/view1.jpg`."""
    patient = frame["Path"].str.extract(r"(?:^|/)(patient\d+)/", expand=False)
    if patient.isna().any():
        wrong = frame["Path"][patient.isna()].iloc[0]
        raise UserError(f"CheXpert table: no patient in the path {wrong!r}, not like train/patient00001/...")
    split = frame["Path"].str.extract(r"(?:^|/)(train|valid|test)/patient", expand=False).fillna("")
    return frame.assign(patient=patient, official_split=split)


KNOWN_TABLES: dict[str, KnownTable] = {
    "nih14": KnownTable(
        frozenset(("Image Index", "Finding Labels")),
        Columns(
            path="Image Index",
            label="Finding Labels",
            findings=NIH_FINDINGS,
            separator="|",
            group="Patient ID",
            split="official_split",
            subgroups=("Patient Age", "Patient Gender", "View Position"),
            boxes="BBox_List_2017.csv",
        ),
        _nih_split,
    ),
    "chexpert": KnownTable(
        frozenset(("Path", *CHEXPERT_FINDINGS)),
        Columns(
            path="Path",
            findings=CHEXPERT_FINDINGS,
            group="patient",
            split="official_split",
            subgroups=("Sex", "Age", "Frontal/Lateral", "AP/PA"),
        ),
        _chexpert_patient,
    ),
    "rsna": KnownTable(
        frozenset(("patientId", "x", "y", "width", "height", "Target")),
        Columns(
            path="patientId",
            label="Target",
            class_names={"0": "no opacity", "1": "opacity"},
            group="patientId",
            boxes="stage_2_train_labels.csv",
        ),
        lambda frame, root: frame.drop_duplicates(["patientId", "Target"]),  # a row a box
    ),
    "ham10000": KnownTable(
        frozenset(("image_id", "dx")),
        Columns(path="image_id", label="dx", group="lesion_id", subgroups=("dx_type", "age", "sex", "localization")),
    ),
    "aptos": KnownTable(
        frozenset(("id_code", "diagnosis")),
        Columns(
            path="id_code",
            label="diagnosis",
            class_names={"0": "no DR", "1": "mild", "2": "moderate", "3": "severe", "4": "proliferative"},
            ordinal=True,
        ),
    ),
}
"""`data.table.format` to the table it names."""
